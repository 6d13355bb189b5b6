package io.xenferry.qemu.qmp;

import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ReadableByteChannel;
import java.util.Arrays;

/** Cuts a stream into lines, none longer than a limit. For one reader. */
final class QmpLines {
  private final ReadableByteChannel channel;
  private final int limit;
  private final ByteBuffer input = ByteBuffer.allocate(32 * 1024).flip();
  private byte[] line = new byte[4096];

  QmpLines(ReadableByteChannel channel, int limit) {
    this.channel = channel;
    this.limit = limit;
  }

  /**
   * The next line without its end.
   *
   * @throws EOFException when the stream ended, in the middle of a line or not
   * @throws LineTooLong when the line passes the limit
   */
  byte[] next() throws IOException {
    int length = 0;
    while (true) {
      if (!input.hasRemaining()) {
        input.clear();
        int got = channel.read(input);
        input.flip();
        if (got < 0) {
          throw new EOFException("the peer closed the connection");
        }
        continue;
      }
      byte b = input.get();
      if (b == '\n') {
        int end = length > 0 && line[length - 1] == '\r' ? length - 1 : length;
        return Arrays.copyOf(line, end);
      }
      if (length == limit) {
        throw new LineTooLong(limit);
      }
      if (length == line.length) {
        line = Arrays.copyOf(line, Math.min(limit, 2 * line.length));
      }
      line[length++] = b;
    }
  }

  /** A line beyond the limit. */
  static final class LineTooLong extends IOException {
    private static final long serialVersionUID = 1L;

    LineTooLong(int limit) {
      super("a line of more than " + limit + " bytes");
    }
  }
}
