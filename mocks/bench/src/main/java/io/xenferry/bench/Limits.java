package io.xenferry.bench;

import io.xenferry.bench.command.Commands;
import io.xenferry.iscsi.IscsiUrl;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What this machine lets a copy to a target on itself do at the most, whoever copies: the bytes
 * copied once in memory, sent through the loopback interface to a thread that forgets them, and
 * sent to a tgtd that does.
 */
final class Limits {
  private static final int CHUNK = 512 << 10;

  /** More than any cache holds. */
  private static final int SLAB = 128 << 20;

  private static final int NULL_LUN = 2;

  private Limits() {}

  /** Seconds to copy so many bytes once. */
  static double memory(long size) {
    ByteBuffer from = ByteBuffer.allocateDirect(SLAB);
    ByteBuffer to = ByteBuffer.allocateDirect(SLAB);
    to.put(from.duplicate()); // so that the memory is there
    long began = System.nanoTime();
    for (long at = 0; at < size; at += CHUNK) {
      int place = (int) (at % SLAB);
      to.slice(place, CHUNK).put(from.slice(place, CHUNK));
    }
    return (System.nanoTime() - began) / 1e9;
  }

  /** Seconds to send so many bytes through one connection, until the last one is received. */
  static double loopback(long size) throws IOException, InterruptedException {
    try (ServerSocketChannel listener =
            ServerSocketChannel.open()
                .bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
        SocketChannel client = SocketChannel.open(listener.getLocalAddress());
        SocketChannel server = listener.accept()) {
      long began = System.nanoTime();
      Thread sends =
          Thread.ofPlatform()
              .daemon()
              .start(() -> {
                ByteBuffer buffer = ByteBuffer.allocateDirect(CHUNK);
                try {
                  for (long sent = 0; sent < size; ) {
                    buffer.clear().limit((int) Math.min(CHUNK, size - sent));
                    while (buffer.hasRemaining()) {
                      sent += client.write(buffer);
                    }
                  }
                  client.shutdownOutput();
                } catch (IOException e) {
                  // The receiver finds less than there should be.
                }
              });
      ByteBuffer buffer = ByteBuffer.allocateDirect(CHUNK);
      long received = 0;
      for (int count = server.read(buffer); count >= 0; count = server.read(buffer.clear())) {
        received += count;
      }
      double seconds = (System.nanoTime() - began) / 1e9;
      sends.join();
      if (received != size) {
        throw new IOException("received " + received + " bytes of " + size);
      }
      return seconds;
    }
  }

  /** Adds a unit to the LUN's target that takes what is written and forgets it. */
  static IscsiUrl forgetful(TestLun lun) throws IOException, InterruptedException {
    List<String> iscsi =
        List.of("tgtadm", "-C", Integer.toString(lun.control()), "--lld", "iscsi", "--mode");
    String targets = Commands.run(Commands.concat(iscsi, "target", "--op", "show"));
    Matcher target =
        Pattern.compile("(?m)^Target (\\d+): " + Pattern.quote(lun.url().iqn()) + "$")
            .matcher(targets);
    if (!target.find()) {
      throw new IOException("tgtd does not know " + lun.url().iqn() + ": " + targets);
    }
    Commands.run(
        Commands.concat(
            iscsi,
            "logicalunit",
            "--tid",
            target.group(1),
            "--lun",
            Integer.toString(NULL_LUN),
            "--op",
            "new",
            "--bstype",
            "null",
            "--backing-store",
            "/dev/null"));
    IscsiUrl url = lun.url();
    return new IscsiUrl(url.credentials(), url.host(), url.port(), url.iqn(), NULL_LUN);
  }
}
