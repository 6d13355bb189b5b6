package io.xenferry.migration.state;

import java.util.UUID;

/**
 * Where the source writes one disk to.
 *
 * @param source uuid of the VDI at the source
 * @param vdi uuid of the VDI at the destination
 * @param url how to reach it, in libiscsi's grammar or {@code nbds:}; may carry the credentials
 * @param size bytes
 */
public record DiskTarget(UUID source, UUID vdi, String url, long size) {

  /** Without the URL, which carries secrets. */
  @Override
  public String toString() {
    return "DiskTarget[source=" + source + ", vdi=" + vdi + ", size=" + size + "]";
  }
}
