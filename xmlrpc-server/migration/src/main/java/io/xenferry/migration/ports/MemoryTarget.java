package io.xenferry.migration.ports;

import io.xenferry.migration.state.MigrationId;

/**
 * Where the guest's memory goes: {@code PUT <url>/v1/incoming/<migration>/memory} with an HTTP
 * Upgrade; {@code io.xenferry.migration.peer.MemoryStream} opens it.
 *
 * @param fingerprint of the destination's certificate, lower-case hex SHA-256; empty over plain
 *     HTTP
 * @param key the migration's key
 */
public record MemoryTarget(MigrationId migration, String url, String fingerprint, String key) {

  /** Without the key. */
  @Override
  public String toString() {
    return "MemoryTarget[" + migration + " at " + url + "]";
  }
}
