package io.xenferry.guest;

import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/** The text console: says who it is and echoes what is typed. One client at a time, as QEMU's. */
final class SerialPort {
  private final ServerSocketChannel listener;
  private final String name;

  SerialPort(Path socket, String name) throws IOException {
    this.name = name;
    Files.deleteIfExists(socket);
    listener = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
    listener.bind(UnixDomainSocketAddress.of(socket));
  }

  void start() {
    Thread.ofPlatform().daemon().name("serial").start(this::serve);
  }

  private void serve() {
    ByteBuffer buffer = ByteBuffer.allocate(4096);
    while (true) {
      try (SocketChannel client = listener.accept()) {
        write(client, StandardCharsets.UTF_8.encode("console of " + name + "\r\n"));
        while (client.read(buffer.clear()) >= 0) {
          write(client, buffer.flip());
        }
      } catch (IOException e) {
        System.err.println("serial: " + e);
      }
    }
  }

  private static void write(SocketChannel client, ByteBuffer bytes) throws IOException {
    while (bytes.hasRemaining()) {
      client.write(bytes);
    }
  }
}
