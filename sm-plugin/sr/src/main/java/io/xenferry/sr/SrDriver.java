package io.xenferry.sr;

import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A type of SR. Found with {@link java.util.ServiceLoader}; stateless and thread-safe. All methods
 * block.
 */
public interface SrDriver {

  /** As in SR.type: lower case. */
  String type();

  QueryResult query();

  /** What every SR of this type holds, as in SR.content_type; empty where its maker says. */
  default Optional<String> contentType() {
    return Optional.empty();
  }

  /**
   * Makes an SR, which is not attached thereby.
   *
   * @return the device_config to store and attach with
   */
  Map<String, String> create(
      String sr,
      String nameLabel,
      String nameDescription,
      Map<String, String> deviceConfig,
      long physicalSize)
      throws SmapiException;

  /** Opens an SR for use by this process alone; repairs what a crash has left. */
  StorageRepository attach(String sr, Map<String, String> deviceConfig) throws SmapiException;

  List<ProbeResult> probe(Map<String, String> deviceConfig, Map<String, String> smConfig)
      throws SmapiException;
}
