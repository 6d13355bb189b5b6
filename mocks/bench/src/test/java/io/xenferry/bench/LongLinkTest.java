package io.xenferry.bench;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

class LongLinkTest {

  /** No less than the link takes; how much more is the machine's affair. */
  @Test
  @Timeout(60)
  void whatIsSentArrivesAsItWasAndNoSoonerThanTheLinkLets() throws Exception {
    byte[] sent = new byte[1 << 20];
    new Random(1).nextBytes(sent);
    try (ServerSocket server = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
        LongLink link = new LongLink(server.getLocalPort(), 100, 10 << 20);
        Socket client = new Socket(InetAddress.getLoopbackAddress(), link.port());
        Socket served = server.accept()) {
      Thread echo =
          Thread.ofPlatform()
              .start(() -> {
                try {
                  served.getOutputStream().write(served.getInputStream().readNBytes(sent.length));
                } catch (IOException e) {
                  throw new UncheckedIOException(e);
                }
              });
      long began = System.nanoTime();
      new DataOutputStream(client.getOutputStream()).write(sent);
      byte[] back = new byte[sent.length];
      new DataInputStream(client.getInputStream()).readFully(back);
      double seconds = (System.nanoTime() - began) / 1e9;
      echo.join();

      assertThat(back).isEqualTo(sent);
      // Each way a tenth for the bytes, and half the round trip.
      assertThat(seconds).isGreaterThanOrEqualTo(0.29);
    }
  }
}
