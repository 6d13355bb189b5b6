package io.xenferry.server.migration;

import io.xenferry.migration.peer.MemoryStream;
import io.xenferry.migration.ports.MemoryTarget;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.Socket;
import java.time.Duration;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Opens the connection that a guest's memory goes through: HTTP with an Upgrade, pinned. */
final class MemoryStreams implements MemoryRelay.Opener {
  private static final Logger log = LoggerFactory.getLogger(MemoryStreams.class);

  private static final Duration CONNECT = Duration.ofSeconds(10);

  /** A guest's memory stream pauses while the hypervisor looks for dirty pages, not for minutes. */
  private static final Duration SILENCE = Duration.ofMinutes(2);

  @Override
  public MemoryRelay.Stream open(MemoryTarget target) throws IOException {
    Socket socket = MemoryStream.open(target, CONNECT);
    try {
      socket.setSoTimeout((int) SILENCE.toMillis());
      return new Connection(socket);
    } catch (IOException e) {
      socket.close();
      throw e;
    }
  }

  private record Connection(Socket socket) implements MemoryRelay.Stream {
    @Override
    public InputStream in() throws IOException {
      return socket.getInputStream();
    }

    @Override
    public OutputStream out() throws IOException {
      return socket.getOutputStream();
    }

    @Override
    public void shutdownOutput() throws IOException {
      socket.shutdownOutput();
    }

    /** Closing would say goodbye first, and wait for a write that nobody takes. */
    @Override
    public void abort() {
      try {
        socket.setSoLinger(true, 0);
      } catch (IOException e) {
        log.debug("{} has been closed already", socket, e);
      }
      close();
    }

    /** A socket of TLS that is closed reads what is still coming, as long as any read may take. */
    @Override
    public void close() {
      try {
        socket.setSoTimeout(1);
      } catch (IOException e) {
        log.debug("{} has been closed already", socket, e);
      }
      try {
        socket.close();
      } catch (IOException e) {
        throw new java.io.UncheckedIOException(e);
      }
    }
  }
}
