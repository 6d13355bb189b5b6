package io.xenferry.server.storage;

import io.xenferry.model.XenApiException;
import io.xenferry.sr.AtomicFile;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Notes about moves of disks that have not ended, on stable storage: a file for each. */
final class MoveNotes {
  private static final Logger log = LoggerFactory.getLogger(MoveNotes.class);
  private static final String SUFFIX = ".move";

  private final Path directory;

  MoveNotes(Path directory) {
    this.directory = directory;
  }

  private Path file(DiskMove move) {
    return directory.resolve(move.to() + SUFFIX);
  }

  /** Durable when it returns; instead of an earlier note about the move. */
  void write(DiskMove move) throws XenApiException {
    try {
      Files.createDirectories(directory);
      AtomicFile.write(file(move), move.note());
    } catch (IOException e) {
      throw new XenApiException("VDI_COPY_FAILED", "the move cannot be noted: " + e).withCause(e);
    }
  }

  void forget(DiskMove move) throws IOException {
    if (Files.deleteIfExists(file(move))) {
      AtomicFile.syncDirectory(directory);
    }
  }

  /** All notes; files that are none are logged, and left. */
  List<DiskMove> all() throws IOException {
    List<DiskMove> moves = new ArrayList<>();
    if (Files.isDirectory(directory)) {
      try (DirectoryStream<Path> files = Files.newDirectoryStream(directory, "*" + SUFFIX)) {
        for (Path file : files) {
          try {
            moves.add(DiskMove.of(AtomicFile.read(file)));
          } catch (IllegalArgumentException | IOException e) {
            log.warn("{} tells of no disk's move: {}", file, e.toString());
          }
        }
      }
    }
    return moves;
  }
}
