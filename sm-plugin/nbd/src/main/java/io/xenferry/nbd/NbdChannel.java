package io.xenferry.nbd;

import io.xenferry.block.BlockException;
import io.xenferry.block.BlockException.Kind;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ByteChannel;
import java.nio.charset.StandardCharsets;
import java.util.Optional;

/**
 * Big-endian numbers and payloads over a blocking channel. One thread may read while another
 * writes; closing from a third ends both. Any ByteChannel will do, so that TLS can be put beneath.
 */
final class NbdChannel implements AutoCloseable {
  private static final int BUFFER = 64 << 10;

  /** Below this a payload is copied behind its header: one system call instead of two. */
  private static final int COALESCE = 16 << 10;

  private final ByteChannel channel;
  private final ByteBuffer in = ByteBuffer.allocateDirect(BUFFER).flip();
  private final ByteBuffer out = ByteBuffer.allocateDirect(BUFFER);

  NbdChannel(ByteChannel channel) {
    this.channel = channel;
  }

  ByteChannel channel() {
    return channel;
  }

  /** Whether bytes were read that nobody asked for; before an upgrade to TLS there must be none. */
  boolean hasBuffered() {
    return in.hasRemaining();
  }

  /** Waits until there is something to read. */
  void awaitByte() throws IOException {
    need(1);
  }

  short readShort() throws IOException {
    need(Short.BYTES);
    return in.getShort();
  }

  int readInt() throws IOException {
    need(Integer.BYTES);
    return in.getInt();
  }

  long readLong() throws IOException {
    need(Long.BYTES);
    return in.getLong();
  }

  byte[] readBytes(int length) throws IOException {
    byte[] bytes = new byte[length];
    readFully(ByteBuffer.wrap(bytes));
    return bytes;
  }

  String readString(int length) throws IOException {
    if (length < 0 || length > NbdProtocol.MAX_STRING) {
      throw protocol("a string of " + Integer.toUnsignedString(length) + " bytes");
    }
    return new String(readBytes(length), StandardCharsets.UTF_8);
  }

  void readFully(ByteBuffer into) throws IOException {
    int buffered = Math.min(in.remaining(), into.remaining());
    if (buffered > 0) {
      into.put(in.slice(in.position(), buffered));
      in.position(in.position() + buffered);
    }
    while (into.hasRemaining()) {
      if (into.remaining() < BUFFER / 4) {
        // A short rest: let the buffer take what follows it, too.
        need(into.remaining());
        int n = into.remaining();
        into.put(in.slice(in.position(), n));
        in.position(in.position() + n);
      } else if (channel.read(into) < 0) {
        throw new EOFException("the connection was closed");
      }
    }
  }

  void skip(long length) throws IOException {
    long rest = length;
    while (rest > 0) {
      need(1);
      int n = (int) Math.min(rest, in.remaining());
      in.position(in.position() + n);
      rest -= n;
    }
  }

  /** Starts a frame of fixed fields; fill it, then {@link #send}. */
  ByteBuffer frame() {
    return out.clear();
  }

  /** Sends the frame and the remaining bytes of the payload. */
  void send(ByteBuffer payload) throws IOException {
    if (payload.remaining() <= Math.min(COALESCE, out.remaining())) {
      out.put(payload);
    }
    out.flip();
    writeAll(out);
    writeAll(payload);
  }

  void send() throws IOException {
    out.flip();
    writeAll(out);
  }

  /** The certificate that the peer has shown, if it has. */
  Optional<String> peer() {
    return channel instanceof SecureChannel secure ? secure.peer() : Optional.empty();
  }

  /** How long data has been encrypted and decrypted so far; 0 where it is not. */
  long cipherNanos() {
    return channel instanceof SecureChannel secure ? secure.cipherNanos() : 0;
  }

  /** Ends an encrypted stream by our own word; others have none. */
  void sayGoodbye() throws IOException {
    if (channel instanceof SecureChannel secure) {
      secure.sayGoodbye();
    }
  }

  @Override
  public void close() {
    try {
      channel.close();
    } catch (IOException e) {
      // Nothing is lost: the connection is gone either way.
      return;
    }
  }

  static BlockException protocol(String what) {
    return new BlockException(Kind.PROTOCOL, "NBD peer sent " + what);
  }

  private void need(int bytes) throws IOException {
    if (in.remaining() >= bytes) {
      return;
    }
    in.compact();
    while (in.position() < bytes) {
      if (channel.read(in) < 0) {
        in.flip();
        throw new EOFException("the connection was closed");
      }
    }
    in.flip();
  }

  private void writeAll(ByteBuffer bytes) throws IOException {
    while (bytes.hasRemaining()) {
      channel.write(bytes);
    }
  }
}
