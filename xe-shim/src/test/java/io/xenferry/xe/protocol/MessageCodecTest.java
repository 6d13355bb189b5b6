package io.xenferry.xe.protocol;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Frames captured from the published client and from servers that it worked with. */
class MessageCodecTest {
  private static final int LIMIT = 1 << 20;

  static Stream<Arguments> captured() {
    return Stream.of(
        Arguments.of(
            new Message.Print("hello world"),
            "17000000 09000000 00000000 0b000000 68656c6c6f20776f726c64"),
        Arguments.of(
            new Message.PrintStderr("to stderr\n"),
            "16000000 09000000 10000000 0a000000 746f207374646572720a"),
        Arguments.of(
            new Message.Debug("dbg text"), "14000000 09000000 0f000000 08000000 6462672074657874"),
        Arguments.of(
            new Message.ShowError("HOST_OFFLINE", List.of("OpaqueRef:1", "p2")),
            "31000000 09000000 0e000000 0c000000 484f53545f4f46464c494e45 02000000 0b000000"
                + " 4f70617175655265663a31 02000000 7032"),
        Arguments.of(new Message.Prompt(), "08000000 09000000 03000000"),
        Arguments.of(new Message.Exit(0), "0c000000 09000000 04000000 00000000"),
        Arguments.of(
            new Message.Load("up.txt"), "12000000 09000000 01000000 06000000 75702e747874"),
        Arguments.of(
            new Message.HttpPut("up.txt", "https://localhost/up?x=1"),
            "2e000000 09000000 0d000000 06000000 75702e747874 18000000"
                + " 68747470733a2f2f6c6f63616c686f73742f75703f783d31"),
        Arguments.of(
            new Message.HttpConnect("/console?uuid=1"),
            "1b000000 09000000 11000000 0f000000 2f636f6e736f6c653f757569643d31"),
        Arguments.of(new Message.Ok(), "08000000 0a000000 05000000"),
        Arguments.of(new Message.Failed(), "08000000 0a000000 06000000"),
        Arguments.of(new Message.Wait(), "08000000 0a000000 12000000"),
        Arguments.of(new Message.Chunk(3), "0c000000 0b000000 07000000 03000000"),
        Arguments.of(new Message.End(), "08000000 0b000000 08000000"),
        Arguments.of(
            new Message.HttpGet("", "/export"),
            "17000000 09000000 0c000000 00000000 07000000 2f6578706f7274"));
  }

  @ParameterizedTest
  @MethodSource("captured")
  void writesAndReadsTheCapturedFrames(Message message, String hex) throws IOException {
    byte[] frame = HexFormat.of().parseHex(hex.replace(" ", ""));
    assertThat(MessageCodec.encode(message)).isEqualTo(frame);
    assertThat(MessageCodec.read(new ByteArrayInputStream(frame), LIMIT)).isEqualTo(message);
  }

  @ParameterizedTest
  @MethodSource("captured")
  void refusesEveryTruncation(Message message, String hex) {
    byte[] frame = HexFormat.of().parseHex(hex.replace(" ", ""));
    for (int i = 0; i < frame.length; i++) {
      byte[] part = java.util.Arrays.copyOf(frame, i);
      assertThatThrownBy(() -> MessageCodec.read(new ByteArrayInputStream(part), LIMIT))
          .as("%s cut to %s bytes", message, i)
          .isInstanceOf(EOFException.class);
    }
  }

  @Test
  void refusesLengthsAndCountsThatTheMessageCannotHold() {
    assertRefused("ffffff7f 09000000 00000000");
    assertRefused("ffffffff 09000000 00000000");
    assertRefused("04000000 09000000");
    assertRefused("0c000000 09000000 00000000 ffffff7f");
    assertRefused("0c000000 09000000 00000000 ffffffff");
    assertRefused("10000000 09000000 0e000000 00000000 ffffff7f");
    assertRefused("0c000000 0b000000 07000000 ffffffff");
    assertRefused("0c000000 0a000000 05000000 00000000");
    assertRefused("08000000 09000000 02000000");
    assertRefused("08000000 0a000000 04000000");
    assertRefused("08000000 08000000 00000000");
  }

  private static void assertRefused(String hex) {
    byte[] frame = HexFormat.of().parseHex(hex.replace(" ", ""));
    assertThatThrownBy(() -> MessageCodec.read(new ByteArrayInputStream(frame), LIMIT))
        .as(hex)
        .isInstanceOf(ProtocolException.class);
  }

  @Test
  void junkEndsInAnIoErrorAndNothingElse() {
    Random random = new Random(20261121);
    for (int i = 0; i < 20_000; i++) {
      byte[] junk = new byte[random.nextInt(64)];
      random.nextBytes(junk);
      if (junk.length >= 12 && random.nextBoolean()) {
        MessageCodec.putNumber(junk, 0, junk.length - 4);
        MessageCodec.putNumber(junk, 4, 9 + random.nextInt(3));
        MessageCodec.putNumber(junk, 8, random.nextInt(20));
      }
      try {
        assertThat(MessageCodec.read(new ByteArrayInputStream(junk), LIMIT)).isNotNull();
      } catch (IOException expected) {
        assertThat(expected.getMessage()).isNotEmpty();
      }
    }
  }

  @Test
  void theGreetingIsThirtyFiveBytes() throws IOException {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    Greeting.OURS.write(out);
    assertThat(HexFormat.of().formatHex(out.toByteArray()))
        .isEqualTo(
            "58656e536f75726365207468696e20434c492070726f746f636f6c" + "00000000" + "02000000");
    assertThat(Greeting.read(new ByteArrayInputStream(out.toByteArray()))).isEqualTo(Greeting.OURS);
    assertThat(Greeting.OURS.heartbeats()).isTrue();
    assertThat(new Greeting(0, 1).heartbeats()).isFalse();
    assertThat(Greeting.OURS.accepts(new Greeting(0, 3))).isTrue();
    assertThat(Greeting.OURS.accepts(new Greeting(1, 2))).isFalse();
    assertThatThrownBy(() ->
            Greeting.read(
                new ByteArrayInputStream("XenSource thick".getBytes(StandardCharsets.US_ASCII))))
        .isInstanceOf(ProtocolException.class);
  }

  @Test
  void theBodyIsOneArgumentALine() throws IOException {
    List<String> arguments = List.of("print", "foo=bar", "username=root", "password=secret");
    byte[] body = RequestBody.join(arguments);
    assertThat(body).hasSize(43);
    assertThat(RequestBody.split(body)).isEqualTo(arguments);
    assertThat(
            RequestBody.split(
                "session_id=OpaqueRef:1\r\nvm-list\r\nname=a\r\r\n"
                    .getBytes(StandardCharsets.UTF_8)))
        .containsExactly("session_id=OpaqueRef:1", "vm-list", "name=a\r", "");
    assertThatThrownBy(() -> RequestBody.join(List.of("a\nb")))
        .isInstanceOf(ProtocolException.class);
    assertThatThrownBy(() -> RequestBody.split(new byte[RequestBody.LIMIT + 1]))
        .isInstanceOf(ProtocolException.class);
    assertThatThrownBy(() -> RequestBody.split(new byte[] {(byte) 0xff}))
        .isInstanceOf(ProtocolException.class);
  }
}
