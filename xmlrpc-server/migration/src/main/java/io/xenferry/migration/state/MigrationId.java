package io.xenferry.migration.state;

import java.nio.charset.StandardCharsets;
import java.util.UUID;

/** Names one migration on both hosts; made by the destination and carried by its token. */
public record MigrationId(UUID value) {

  /**
   * Reads the canonical form of 36 characters only.
   *
   * @throws IllegalArgumentException for anything else
   */
  public static MigrationId parse(String text) {
    UUID uuid = UUID.fromString(text);
    if (!uuid.toString().equals(text)) {
      throw new IllegalArgumentException("not a canonical uuid: " + text.length() + " characters");
    }
    return new MigrationId(uuid);
  }

  /** The uuid of the VM that stays at the source when that is kept. */
  public UUID keptVm() {
    return UUID.nameUUIDFromBytes(("kept by " + value).getBytes(StandardCharsets.UTF_8));
  }

  @Override
  public String toString() {
    return value.toString();
  }
}
