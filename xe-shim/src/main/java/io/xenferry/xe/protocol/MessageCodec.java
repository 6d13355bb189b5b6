package io.xenferry.xe.protocol;

import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * Messages as bytes: a length, then a payload of kind, tag and fields. All integers are 32 bits,
 * little endian; a string is its length in bytes and UTF-8 text; a list is a count and its items.
 */
public final class MessageCodec {
  private static final int COMMAND = 9;
  private static final int RESPONSE = 10;
  private static final int BLOB = 11;

  private static final int PRINT = 0;
  private static final int LOAD = 1;
  private static final int PROMPT = 3;
  private static final int EXIT = 4;
  private static final int OK = 5;
  private static final int FAILED = 6;
  private static final int CHUNK = 7;
  private static final int END = 8;
  private static final int HTTP_GET = 12;
  private static final int HTTP_PUT = 13;
  private static final int ERROR = 14;
  private static final int DEBUG = 15;
  private static final int PRINT_STDERR = 16;
  private static final int HTTP_CONNECT = 17;
  private static final int WAIT = 18;

  private MessageCodec() {}

  /** Writes one message and leaves flushing to the caller. */
  public static void write(OutputStream out, Message message) throws IOException {
    out.write(encode(message));
  }

  /** The message with its leading length. */
  public static byte[] encode(Message message) {
    Payload p = new Payload();
    switch (message) {
      case Message.Print m -> p.head(COMMAND, PRINT).text(m.text());
      case Message.Load m -> p.head(COMMAND, LOAD).text(m.file());
      case Message.Prompt m -> p.head(COMMAND, PROMPT);
      case Message.Exit m -> p.head(COMMAND, EXIT).number(m.code());
      case Message.HttpGet m -> p.head(COMMAND, HTTP_GET).text(m.file()).text(m.url());
      case Message.HttpPut m -> p.head(COMMAND, HTTP_PUT).text(m.file()).text(m.url());
      case Message.ShowError m -> {
        p.head(COMMAND, ERROR).text(m.code()).number(m.params().size());
        m.params().forEach(p::text);
      }
      case Message.Debug m -> p.head(COMMAND, DEBUG).text(m.text());
      case Message.PrintStderr m -> p.head(COMMAND, PRINT_STDERR).text(m.text());
      case Message.HttpConnect m -> p.head(COMMAND, HTTP_CONNECT).text(m.url());
      case Message.Ok m -> p.head(RESPONSE, OK);
      case Message.Failed m -> p.head(RESPONSE, FAILED);
      case Message.Wait m -> p.head(RESPONSE, WAIT);
      case Message.Chunk m -> p.head(BLOB, CHUNK).number(m.length());
      case Message.End m -> p.head(BLOB, END);
    }
    return p.frame();
  }

  /**
   * Reads exactly one message.
   *
   * @param limit the longest payload that is accepted, in bytes
   * @throws EOFException the stream ended, before the message or in it
   * @throws ProtocolException it is longer than the limit, of an unknown kind or tag, or its fields
   *     do not fill it exactly
   */
  public static Message read(InputStream in, int limit) throws IOException {
    int length = readNumber(in);
    if (length < 8 || length > limit) {
      throw new ProtocolException("a message of " + Integer.toUnsignedString(length) + " bytes");
    }
    byte[] payload = in.readNBytes(length);
    if (payload.length < length) {
      throw new EOFException("the connection ended within a message");
    }
    return decode(payload);
  }

  private static Message decode(byte[] payload) throws ProtocolException {
    Fields f = new Fields(payload);
    int kind = f.number();
    int tag = f.number();
    Message message =
        switch (kind) {
          case COMMAND -> command(tag, f);
          case RESPONSE -> response(tag);
          case BLOB -> blob(tag, f);
          default -> throw new ProtocolException("unknown kind of message " + kind);
        };
    f.end();
    return message;
  }

  private static Message command(int tag, Fields f) throws ProtocolException {
    return switch (tag) {
      case PRINT -> new Message.Print(f.text());
      case LOAD -> new Message.Load(f.text());
      case PROMPT -> new Message.Prompt();
      case EXIT -> new Message.Exit(f.number());
      case HTTP_GET -> new Message.HttpGet(f.text(), f.text());
      case HTTP_PUT -> new Message.HttpPut(f.text(), f.text());
      case ERROR -> new Message.ShowError(f.text(), f.texts());
      case DEBUG -> new Message.Debug(f.text());
      case PRINT_STDERR -> new Message.PrintStderr(f.text());
      case HTTP_CONNECT -> new Message.HttpConnect(f.text());
      default -> throw new ProtocolException("unknown command " + tag);
    };
  }

  private static Message response(int tag) throws ProtocolException {
    return switch (tag) {
      case OK -> new Message.Ok();
      case FAILED -> new Message.Failed();
      case WAIT -> new Message.Wait();
      default -> throw new ProtocolException("unknown response " + tag);
    };
  }

  private static Message blob(int tag, Fields f) throws ProtocolException {
    switch (tag) {
      case CHUNK -> {
        int length = f.number();
        if (length < 0) {
          throw new ProtocolException("a chunk of " + length + " bytes");
        }
        return new Message.Chunk(length);
      }
      case END -> {
        return new Message.End();
      }
      default -> throw new ProtocolException("unknown blob header " + tag);
    }
  }

  static int readNumber(InputStream in) throws IOException {
    byte[] b = in.readNBytes(4);
    if (b.length < 4) {
      throw new EOFException(
          b.length == 0 ? "the connection ended" : "the connection ended within a number");
    }
    return number(b, 0);
  }

  private static int number(byte[] b, int at) {
    return (b[at] & 0xff)
        | (b[at + 1] & 0xff) << 8
        | (b[at + 2] & 0xff) << 16
        | (b[at + 3] & 0xff) << 24;
  }

  static void putNumber(byte[] b, int at, int value) {
    b[at] = (byte) value;
    b[at + 1] = (byte) (value >> 8);
    b[at + 2] = (byte) (value >> 16);
    b[at + 3] = (byte) (value >> 24);
  }

  /** A payload being written, with room for its length in front. */
  private static final class Payload {
    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream(64);

    Payload() {
      number(0);
    }

    Payload head(int kind, int tag) {
      return number(kind).number(tag);
    }

    Payload number(int value) {
      byte[] b = new byte[4];
      putNumber(b, 0, value);
      bytes.writeBytes(b);
      return this;
    }

    Payload text(String text) {
      byte[] b = text.getBytes(StandardCharsets.UTF_8);
      number(b.length);
      bytes.writeBytes(b);
      return this;
    }

    byte[] frame() {
      byte[] b = bytes.toByteArray();
      putNumber(b, 0, b.length - 4);
      return b;
    }
  }

  /** A payload being read; every length is checked against what is left. */
  private static final class Fields {
    private final byte[] bytes;
    private int at;

    Fields(byte[] bytes) {
      this.bytes = bytes;
    }

    private int left() {
      return bytes.length - at;
    }

    int number() throws ProtocolException {
      if (left() < 4) {
        throw new ProtocolException("a message ends within a number");
      }
      int value = MessageCodec.number(bytes, at);
      at += 4;
      return value;
    }

    String text() throws ProtocolException {
      int length = number();
      if (length < 0 || length > left()) {
        throw new ProtocolException("a text longer than its message");
      }
      String text = new String(bytes, at, length, StandardCharsets.UTF_8);
      at += length;
      return text;
    }

    List<String> texts() throws ProtocolException {
      int count = number();
      if (count < 0 || count > left() / 4) {
        throw new ProtocolException("a list longer than its message");
      }
      List<String> texts = new ArrayList<>(count);
      for (int i = 0; i < count; i++) {
        texts.add(text());
      }
      return texts;
    }

    void end() throws ProtocolException {
      if (left() != 0) {
        throw new ProtocolException(left() + " bytes too many in a message");
      }
    }
  }
}
