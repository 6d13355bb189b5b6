package io.xenferry.xe.protocol;

import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;

/**
 * What both sides send first, the server before the client: a fixed text and the version, 35 bytes.
 *
 * @param major peers with another one cannot talk to each other
 * @param minor any is accepted; heartbeats exist since 0.2
 */
public record Greeting(int major, int minor) {
  /** The version that this code speaks. */
  public static final Greeting OURS = new Greeting(0, 2);

  private static final byte[] TEXT =
      "XenSource thin CLI protocol".getBytes(StandardCharsets.US_ASCII);

  /** Bytes of a greeting. */
  public static final int LENGTH = TEXT.length + 8;

  /** Writes the 35 bytes and leaves flushing to the caller. */
  public void write(OutputStream out) throws IOException {
    byte[] b = new byte[LENGTH];
    System.arraycopy(TEXT, 0, b, 0, TEXT.length);
    MessageCodec.putNumber(b, TEXT.length, major);
    MessageCodec.putNumber(b, TEXT.length + 4, minor);
    out.write(b);
  }

  /**
   * Reads a greeting and stops at the first byte that differs from one.
   *
   * @throws EOFException the stream ended first
   * @throws ProtocolException something else came
   */
  public static Greeting read(InputStream in) throws IOException {
    return readAfter(new byte[0], in);
  }

  /** Reads a greeting of which the first bytes, at most 27, have been read before. */
  public static Greeting readAfter(byte[] first, InputStream in) throws IOException {
    for (int i = 0; i < TEXT.length; i++) {
      int b = i < first.length ? first[i] & 0xff : in.read();
      if (b < 0) {
        throw new EOFException("the connection ended within the greeting");
      }
      if (b != TEXT[i]) {
        throw new ProtocolException("the other side does not speak the thin CLI protocol");
      }
    }
    return new Greeting(MessageCodec.readNumber(in), MessageCodec.readNumber(in));
  }

  /** Whether a peer with this greeting and one with the other can talk. */
  public boolean accepts(Greeting other) {
    return major == other.major;
  }

  /** Whether a server with this greeting understands {@link Message.Wait}. */
  public boolean heartbeats() {
    return major * 10 + minor >= 2;
  }

  /** The version as people write it. */
  @Override
  public String toString() {
    return major + "." + minor;
  }
}
