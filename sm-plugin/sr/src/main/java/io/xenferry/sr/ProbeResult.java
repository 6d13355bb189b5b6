package io.xenferry.sr;

import java.util.Map;
import java.util.Optional;

/**
 * An SR that a probe found, or a place where one could be.
 *
 * @param complete whether the configuration suffices to attach or create
 */
public record ProbeResult(
    Map<String, String> configuration,
    boolean complete,
    Optional<SrInfo> sr,
    Map<String, String> extra) {
  public ProbeResult {
    configuration = Map.copyOf(configuration);
    extra = Map.copyOf(extra);
  }
}
