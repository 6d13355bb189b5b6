package io.xenferry.bench;

import io.xenferry.bench.command.Commands;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.channels.ServerSocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;

/** The peer: nbdkit with a file, in a process of its own. */
final class Nbdkit implements AutoCloseable {
  private static final Duration START = Duration.ofSeconds(20);

  private final Process process;
  private final int port;
  private final Thread whenInterrupted;

  private Nbdkit(Process process, int port) {
    this.process = process;
    this.port = port;
    this.whenInterrupted = new Thread(process::destroyForcibly, "end nbdkit");
    Runtime.getRuntime().addShutdownHook(whenInterrupted);
  }

  /**
   * Serves a file to clients on this machine.
   *
   * @param certificate of both sides where it is over TLS
   * @throws IOException when it does not listen within twenty seconds
   */
  static Nbdkit serve(Path file, Optional<NbdCertificate> certificate)
      throws IOException, InterruptedException {
    int port = freePort();
    List<String> command =
        new ArrayList<>(List.of("nbdkit", "--foreground", "--ipaddr=127.0.0.1", "--port=" + port));
    certificate.ifPresent(own ->
        command.addAll(
            List.of(
                "--tls=require", "--tls-verify-peer", "--tls-certificates=" + own.directory())));
    Process process =
        new ProcessBuilder(Commands.concat(command, "file", file.toString()))
            .redirectErrorStream(true)
            .start();
    Nbdkit nbdkit = new Nbdkit(process, port);
    long deadline = System.nanoTime() + START.toNanos();
    while (!listens(port)) {
      if (!process.isAlive() || System.nanoTime() > deadline) {
        nbdkit.close();
        throw new IOException(
            "nbdkit does not listen: "
                + new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8)
                    .strip());
      }
      TimeUnit.MILLISECONDS.sleep(20);
    }
    return nbdkit;
  }

  private static int freePort() throws IOException {
    try (ServerSocketChannel free =
        ServerSocketChannel.open()
            .bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0))) {
      return ((InetSocketAddress) free.getLocalAddress()).getPort();
    }
  }

  private static boolean listens(int port) {
    try (Socket socket = new Socket(InetAddress.getLoopbackAddress(), port)) {
      return socket.isConnected();
    } catch (IOException e) {
      return false;
    }
  }

  int port() {
    return port;
  }

  @Override
  public void close() {
    process.destroyForcibly();
    Runtime.getRuntime().removeShutdownHook(whenInterrupted);
  }
}
