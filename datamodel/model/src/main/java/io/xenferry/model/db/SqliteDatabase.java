package io.xenferry.model.db;

import java.io.IOException;
import java.nio.file.Path;

/** A database in one SQLite file. */
public final class SqliteDatabase {
  private SqliteDatabase() {}

  /**
   * Opens the file, or makes it. The whole state is read into memory.
   *
   * @throws DatabaseException when it is damaged, in use, of a newer version or no database of ours
   */
  public static ObjectDatabase open(Path file) throws DatabaseException {
    SqliteStore store = SqliteStore.open(file);
    try {
      return new Engine(store);
    } catch (IOException e) {
      store.close();
      throw e instanceof DatabaseException d ? d : new DatabaseException(String.valueOf(e), e);
    }
  }
}
