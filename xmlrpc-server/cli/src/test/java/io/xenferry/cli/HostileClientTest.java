package io.xenferry.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.xe.protocol.Greeting;
import io.xenferry.xe.protocol.Message;
import io.xenferry.xe.protocol.MessageCodec;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HexFormat;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Clients that send junk, promise too much, stop half-way or say nothing. */
@Timeout(value = 60, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class HostileClientTest {
  private static final byte[] LIST = bytes("vm-list\nusername=root\npassword=secret");
  private static final byte[] CREATE =
      bytes(
          "sr-create\nname-label=n\ntype=t\ndevice-config:k-filename=f\nusername=root\npassword=secret");

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  private static byte[] answer(byte[] body, byte[] client) {
    Terminal terminal = new Terminal();
    String host = terminal.api.add("host", "h");
    terminal.api.add("pool", "p", "master", host);
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    CliSession.run(body, new ByteArrayInputStream(client), out, () -> {}, terminal);
    assertThat(terminal.api.changes()).isEmpty();
    return out.toByteArray();
  }

  @Test
  void aClientThatDoesNotGreetGetsNothingButTheGreeting() {
    for (String greeting : new String[] {"", "XenSource thin", "GET / HTTP/1.0\r\n\r\n"}) {
      assertThat(answer(LIST, bytes(greeting))).hasSize(Greeting.LENGTH);
    }
  }

  @Test
  void junkAfterTheGreetingEndsTheSession() throws IOException {
    Random random = new Random(7);
    for (int i = 0; i < 500; i++) {
      ByteArrayOutputStream client = new ByteArrayOutputStream();
      Greeting.OURS.write(client);
      if (random.nextBoolean()) {
        MessageCodec.write(client, new Message.Ok());
      }
      byte[] junk = new byte[random.nextInt(200)];
      random.nextBytes(junk);
      client.writeBytes(junk);
      assertThat(answer(CREATE, client.toByteArray())).hasSizeGreaterThan(Greeting.LENGTH);
    }
  }

  @Test
  void aBlobThatPromisesTooMuchIsRefusedBeforeItIsRead() throws IOException {
    ByteArrayOutputStream client = new ByteArrayOutputStream();
    Greeting.OURS.write(client);
    MessageCodec.write(client, new Message.Ok());
    MessageCodec.write(client, new Message.Chunk(ClientChannel.LOAD_LIMIT + 1));
    assertThat(new String(answer(CREATE, client.toByteArray()), StandardCharsets.ISO_8859_1))
        .doesNotContain("Exit");
    byte[] negative = HexFormat.of().parseHex("0c0000000b00000007000000ffffffff");
    client.reset();
    Greeting.OURS.write(client);
    MessageCodec.write(client, new Message.Ok());
    client.writeBytes(negative);
    answer(CREATE, client.toByteArray());
  }

  @Test
  void bodiesOfBytesAndOfNothingAreRefused() throws IOException {
    ByteArrayOutputStream client = new ByteArrayOutputStream();
    Greeting.OURS.write(client);
    Random random = new Random(8);
    for (int i = 0; i < 500; i++) {
      byte[] body = new byte[random.nextInt(300)];
      random.nextBytes(body);
      answer(body, client.toByteArray());
    }
    assertThat(new String(answer(new byte[0], client.toByteArray()), StandardCharsets.UTF_8))
        .contains("Syntax error");
  }

  @Test
  void aSilentClientIsDroppedAtTheDeadline() throws IOException {
    // Only the greeting's deadline may pass here, however slow the machine: that it ends is shown.
    Duration never = Duration.ofMinutes(5);
    ClientChannel.Deadlines soon =
        new ClientChannel.Deadlines(Duration.ofMillis(200), never, never, never);
    for (byte[] said : new byte[][] {{}, bytes("XenSource")}) {
      try (ServerSocket listening = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
          Socket client = new Socket(listening.getInetAddress(), listening.getLocalPort());
          Socket server = listening.accept()) {
        OutputStream out = client.getOutputStream();
        out.write(said);
        out.flush();
        CliSession.run(
            LIST, server.getInputStream(), server.getOutputStream(), server, new Terminal(), soon);
        assertThat(server.isClosed()).isTrue();
      }
    }
  }
}
