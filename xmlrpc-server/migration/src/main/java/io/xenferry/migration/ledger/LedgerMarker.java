package io.xenferry.migration.ledger;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Optional;
import java.util.UUID;

/**
 * A small file apart from the ledger that knows how new the ledger must at least be: its
 * incarnation and how many decisions it held. A ledger that is older than its marker, or has none,
 * was put back from a copy.
 *
 * <p>Written after each decision in the ledger and before the effect, in place, within one sector.
 */
final class LedgerMarker implements AutoCloseable {
  private static final int LENGTH = 96;

  private final FileChannel channel;

  LedgerMarker(Path file) throws IOException {
    channel =
        FileChannel.open(
            file, StandardOpenOption.READ, StandardOpenOption.WRITE, StandardOpenOption.CREATE);
  }

  record Mark(UUID incarnation, long decisions) {}

  /** Absent when there is none, or it cannot be read. */
  Optional<Mark> read() throws IOException {
    ByteBuffer bytes = ByteBuffer.allocate(LENGTH);
    while (bytes.hasRemaining() && channel.read(bytes, bytes.position()) >= 0) {}
    String[] words =
        new String(bytes.array(), 0, bytes.position(), StandardCharsets.US_ASCII).trim().split(" ");
    try {
      return words.length == 2
          ? Optional.of(new Mark(UUID.fromString(words[0]), Long.parseLong(words[1])))
          : Optional.empty();
    } catch (IllegalArgumentException e) {
      return Optional.empty();
    }
  }

  /** Durable when it returns. */
  void write(Mark mark) throws IOException {
    StringBuilder text = new StringBuilder(mark.incarnation + " " + mark.decisions);
    while (text.length() < LENGTH - 1) {
      text.append(' ');
    }
    text.append('\n');
    ByteBuffer bytes = ByteBuffer.wrap(text.toString().getBytes(StandardCharsets.US_ASCII));
    while (bytes.hasRemaining()) {
      channel.write(bytes, bytes.position());
    }
    channel.force(false);
  }

  @Override
  public void close() throws IOException {
    channel.close();
  }
}
