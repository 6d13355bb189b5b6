package io.xenferry.model.db;

import java.io.IOException;

/** A database file cannot be used; the message says why and what to do. */
public final class DatabaseException extends IOException {
  private static final long serialVersionUID = 1L;

  DatabaseException(String message, Throwable cause) {
    super(message, cause);
  }

  DatabaseException(String message) {
    super(message);
  }
}
