package io.xenferry.model.db;

import java.io.IOException;
import java.io.UncheckedIOException;

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
}
