package io.xenferry.model.db;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.UUID;
import java.util.function.Supplier;

/** A database that forgets everything when it is closed: for tests and simulations. */
public final class MemoryDatabase {
  private MemoryDatabase() {}

  /** A new, empty one. */
  public static ObjectDatabase create() {
    try {
      return new Engine(Store.forgetful());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /**
   * A new, empty one without a thread of its own: whoever writes commits by itself, and listeners
   * are told on its thread. For one thread at a time.
   *
   * @param uuids where references and uuids of new objects come from
   */
  public static ObjectDatabase onCallersThread(Supplier<UUID> uuids) {
    return new CallersDatabase(uuids);
  }
}
