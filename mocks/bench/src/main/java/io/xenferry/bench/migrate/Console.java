package io.xenferry.bench.migrate;

import io.xenferry.bench.migrate.Network.Side;
import java.io.IOException;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.function.Supplier;

/**
 * The end outside of a guest's second serial port: a Unix socket that QEMU listens on. It is
 * connected to as soon as it is there, since what a guest says while nobody listens is lost.
 */
final class Console implements AutoCloseable {
  private static final int LONGEST_LINE = 16384;
  private static final int POLL_MILLIS = 2;

  private final Side side;
  private final Trace trace;
  private final Thread reader;
  private volatile boolean closed;
  private volatile Optional<SocketChannel> channel = Optional.empty();

  /**
   * @param socket where the socket is, once it is known
   */
  Console(Side side, Supplier<Optional<Path>> socket, Trace trace) {
    this.side = side;
    this.trace = trace;
    this.reader = Thread.ofPlatform().daemon().name("console " + side).start(() -> read(socket));
  }

  private void read(Supplier<Optional<Path>> socket) {
    try (SocketChannel connected = connect(socket)) {
      channel = Optional.of(connected);
      ByteBuffer bytes = ByteBuffer.allocate(65536);
      StringBuilder line = new StringBuilder();
      while (!closed && connected.read(bytes.clear()) >= 0) {
        long time = System.nanoTime();
        String text = StandardCharsets.ISO_8859_1.decode(bytes.flip()).toString();
        for (int i = 0; i < text.length(); i++) {
          char c = text.charAt(i);
          if (c == '\n') {
            trace.line(side, time, line.toString().strip());
            line.setLength(0);
          } else if (line.length() < LONGEST_LINE) {
            line.append(c);
          }
        }
      }
    } catch (IOException e) {
      // The guest ended, or this was closed.
      return;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private SocketChannel connect(Supplier<Optional<Path>> socket)
      throws IOException, InterruptedException {
    while (true) {
      Optional<Path> path = socket.get().filter(Files::exists);
      if (path.isPresent()) {
        try {
          return SocketChannel.open(UnixDomainSocketAddress.of(path.get()));
        } catch (IOException e) {
          // Bound and not yet listening.
          Thread.sleep(POLL_MILLIS);
        }
      }
      if (closed) {
        throw new IOException("closed");
      }
      Thread.sleep(POLL_MILLIS);
    }
  }

  /** Asks the guest to stop writing and to check what it wrote. */
  void askForVerdict() throws IOException {
    SocketChannel connected =
        channel.orElseThrow(() -> new IOException("no console at the " + side.word()));
    connected.write(ByteBuffer.wrap(new byte[] {'v'}));
  }

  @Override
  public void close() throws IOException {
    closed = true;
    reader.interrupt();
    if (channel.isPresent()) {
      channel.get().close();
    }
  }
}
