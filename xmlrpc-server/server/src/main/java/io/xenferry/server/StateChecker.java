package io.xenferry.server;

import io.xenferry.migration.ledger.LedgerChecker;
import io.xenferry.migration.ledger.LedgerException;
import io.xenferry.model.db.DatabaseChecker;
import io.xenferry.model.db.DatabaseException;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Looks through the database and the ledger of a state directory that no server uses. It reads
 * copies: what a killed server has left stays as it is for the next one.
 */
public final class StateChecker {
  private static final String DATABASE = "pool.db";
  private static final String LEDGER = "ledger.db";

  private StateChecker() {}

  /**
   * All faults, a sentence each that begins with the name of the file; empty when nothing is wrong.
   *
   * @param stateDirectory in which there must be a database; a ledger may be missing
   * @throws IOException when there is no database, or it cannot be copied
   */
  public static List<String> check(Path stateDirectory) throws IOException {
    if (!Files.exists(stateDirectory.resolve(DATABASE))) {
      throw new NoSuchFileException(stateDirectory.resolve(DATABASE).toString());
    }
    Path copy = Files.createTempDirectory("xenferry-check");
    try {
      List<String> faults = new ArrayList<>();
      copy(stateDirectory, DATABASE, copy);
      try {
        for (DatabaseChecker.Finding f : DatabaseChecker.check(copy.resolve(DATABASE))) {
          faults.add(
              "%s: %s %s %s %s: %s"
                  .formatted(DATABASE, f.kind(), f.className(), f.ref(), f.field(), f.detail()));
        }
      } catch (DatabaseException e) {
        faults.add(DATABASE + ": " + e.getMessage());
      }
      if (Files.exists(stateDirectory.resolve(LEDGER))) {
        copy(stateDirectory, LEDGER, copy);
        try {
          LedgerChecker.check(copy.resolve(LEDGER))
              .forEach(fault -> faults.add(LEDGER + ": " + fault));
        } catch (LedgerException e) {
          faults.add(LEDGER + ": " + e.getMessage() + ": " + e.getCause());
        }
      }
      return List.copyOf(faults);
    } finally {
      delete(copy);
    }
  }

  /** A file with the log beside it. */
  private static void copy(Path from, String name, Path to) throws IOException {
    for (String file : List.of(name, name + "-wal", name + "-journal")) {
      if (Files.exists(from.resolve(file))) {
        Files.copy(from.resolve(file), to.resolve(file));
      }
    }
  }

  private static void delete(Path directory) throws IOException {
    try (DirectoryStream<Path> files = Files.newDirectoryStream(directory)) {
      for (Path file : files) {
        Files.delete(file);
      }
    }
    Files.delete(directory);
  }
}
