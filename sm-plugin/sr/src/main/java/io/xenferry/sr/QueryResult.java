package io.xenferry.sr;

import java.util.List;
import java.util.Map;

/**
 * What a driver says of itself.
 *
 * @param features as SM.features has them: {@code VDI_CREATE} or {@code VDI_RESET_ON_BOOT/2}
 * @param configuration keys of device_config and what they mean
 */
public record QueryResult(
    String driver,
    String name,
    String description,
    String vendor,
    String copyright,
    String version,
    String requiredApiVersion,
    List<String> features,
    Map<String, String> configuration) {
  public QueryResult {
    features = List.copyOf(features);
    configuration = Map.copyOf(configuration);
  }
}
