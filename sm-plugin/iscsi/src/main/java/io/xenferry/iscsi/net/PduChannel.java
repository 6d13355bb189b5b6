package io.xenferry.iscsi.net;

import io.xenferry.iscsi.pdu.HeaderReader;
import io.xenferry.iscsi.pdu.Headers;
import io.xenferry.iscsi.pdu.Pdu;
import io.xenferry.iscsi.pdu.ProtocolException;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.SocketChannel;
import java.util.ArrayDeque;
import java.util.zip.CRC32C;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * PDUs on a non-blocking socket (RFC 7143 section 11.1: header, data, padding to four bytes, and
 * digests once they are agreed on). Data segments are read straight into the place that the handler
 * names, and written straight from the sender's buffers. A digest that is wrong ends the
 * connection: without error recovery nothing less would do.
 *
 * <p>Confined to its {@link EventLoop}'s thread.
 */
public final class PduChannel {
  private static final Logger log = LoggerFactory.getLogger(PduChannel.class);

  /** What the owner of the channel does with what arrives. */
  public interface Handler {
    /**
     * Where the data segment of this PDU goes.
     *
     * @return a buffer with exactly {@code length} bytes remaining, or null for one of the
     *     channel's own
     */
    @Nullable ByteBuffer place(Pdu pdu, int length) throws ProtocolException;

    /**
     * A whole PDU has arrived.
     *
     * @param data the buffer from {@link #place} with nothing remaining, or the channel's own,
     *     ready to be read; valid during the call
     */
    void received(Pdu pdu, ByteBuffer data) throws ProtocolException;

    /** The connection is gone, by error, by the peer's end, or by {@link PduChannel#close}. */
    void closed(IOException cause);
  }

  /** Is told when data has left. */
  public interface Sent {
    void sent();
  }

  private static final int STAGING = 32 * 1024;

  /** One gather write: JDK copies heap buffers whole on each attempt, so keep it small. */
  private static final int GATHER_BUFFERS = 64;

  private static final long GATHER_BYTES = 1024 * 1024;

  /** What one turn may read before other sockets get theirs. */
  private static final int TURN_BYTES = 4 * 1024 * 1024;

  private static final int DIGEST = 4;
  private static final int ABANDONED = -1;
  private static final int MAX_TRAILER = 3 + DIGEST;
  private static final ByteBuffer EMPTY = ByteBuffer.allocate(0);

  private static final class Out {
    ByteBuffer bytes = EMPTY;
    boolean header;
    @Nullable Sent done;
  }

  private final EventLoop loop;
  private final SocketChannel socket;
  private final Handler handler;
  private final int maxData;
  private final SelectionKey key;

  private final ByteBuffer staging = ByteBuffer.allocateDirect(STAGING).limit(0);
  private final ByteBuffer[] scatter = new ByteBuffer[2];
  private @Nullable Pdu pdu;
  private ByteBuffer destination = EMPTY;

  /** Where in the destination the data begins. */
  private int begun;

  private boolean own;

  /** Padding, and the digest of the data. */
  private final ByteBuffer trailer = ByteBuffer.allocate(MAX_TRAILER).limit(0);

  private boolean paused;
  private boolean headerDigest;
  private boolean dataDigest;
  private final CRC32C crc = new CRC32C();

  private final ArrayDeque<Out> queue = new ArrayDeque<>();
  private final ArrayDeque<ByteBuffer> spareHeaders = new ArrayDeque<>();
  private final ArrayDeque<Out> spareOuts = new ArrayDeque<>();
  private final ByteBuffer[] gather = new ByteBuffer[GATHER_BUFFERS];
  private final ByteBuffer zeroes = ByteBuffer.allocateDirect(4);
  private boolean flushing;

  /** Made once: what each PDU needs leaves no garbage. */
  private final Runnable flush = this::flush;

  private final Runnable receive = this::receive;
  private boolean open = true;
  private long lastReceived = System.nanoTime();
  private long lastSent = System.nanoTime();

  /**
   * Takes over a connected socket; must be called on the loop.
   *
   * @param maxData the largest data segment we accept
   */
  public PduChannel(EventLoop loop, SocketChannel socket, int maxData, Handler handler)
      throws IOException {
    this.loop = loop;
    this.socket = socket;
    this.maxData = maxData;
    this.handler = handler;
    socket.configureBlocking(false);
    this.key = loop.register(socket, SelectionKey.OP_READ, this::ready);
  }

  /** CRC32C digests (RFC 7143 section 13.1) from the next PDU on, in both directions. */
  public void digests(boolean header, boolean data) {
    headerDigest = header;
    dataDigest = data;
  }

  public boolean isOpen() {
    return open;
  }

  /** Whether the rest of a PDU has yet to come. */
  public boolean isWithinPdu() {
    return pdu != null || staging.hasRemaining();
  }

  /** Whether nothing is read for now. */
  public boolean isPaused() {
    return paused;
  }

  /** When bytes last came, in the loop's nanoseconds. */
  public long lastReceived() {
    return lastReceived;
  }

  /** When bytes were last taken by the socket, or the queue was empty. */
  public long lastSent() {
    return queue.isEmpty() ? System.nanoTime() : lastSent;
  }

  /** Whether data waits for the socket and some was taken within these nanoseconds. */
  public boolean sendsWithin(long nanos) {
    return !queue.isEmpty() && System.nanoTime() - lastSent < nanos;
  }

  /** Whether something waits for the socket. */
  public boolean sending() {
    return !queue.isEmpty();
  }

  private void ready(SelectionKey ready) {
    if (open && ready.isWritable()) {
      flush();
    }
    if (open && ready.isReadable()) {
      receive();
    }
  }

  // ---- receiving

  /** Stops reading until {@link #resume}. */
  public void pause() {
    paused = true;
    interest();
  }

  public void resume() {
    if (paused) {
      paused = false;
      // The peer was not silent: nobody listened.
      lastReceived = System.nanoTime();
      interest();
      loop.execute(receive);
    }
  }

  /** What still arrives for the handler's buffer goes elsewhere from now on. */
  public void abandonDestination() {
    if (!own && destination.hasRemaining()) {
      destination = ByteBuffer.allocate(destination.remaining());
      own = true;
      // What came before is gone, and nobody wants the rest.
      begun = ABANDONED;
    }
  }

  private void receive() {
    try {
      int budget = TURN_BYTES;
      while (open && !paused) {
        if (budget <= 0) {
          loop.execute(receive);
          return;
        }
        if (pdu == null) {
          int header = Headers.LENGTH + (headerDigest ? DIGEST : 0);
          if (staging.remaining() < header && !fill()) {
            return;
          }
          if (staging.remaining() < header) {
            continue;
          }
          begin();
        }
        budget -= Headers.LENGTH + destination.remaining();
        if (!data()) {
          return;
        }
        Pdu whole = pdu;
        ByteBuffer bytes = own ? destination.flip() : destination;
        pdu = null;
        destination = EMPTY;
        own = false;
        if (whole != null) {
          handler.received(whole, bytes);
        }
      }
    } catch (IOException e) {
      fail(e);
    } catch (RuntimeException e) {
      log.error("a received PDU could not be handled", e);
      fail(new ProtocolException("cannot handle what was received", e));
    }
  }

  private boolean fill() throws IOException {
    staging.compact();
    int got;
    try {
      got = socket.read(staging);
    } finally {
      staging.flip();
    }
    if (got < 0) {
      throw new EOFException("the peer closed the connection");
    }
    if (got > 0) {
      lastReceived = System.nanoTime();
    }
    return got > 0;
  }

  private void begin() throws ProtocolException {
    if (headerDigest) {
      int at = staging.position() + Headers.LENGTH;
      crc.reset();
      crc.update(staging.duplicate().limit(at));
      requireDigest("header", staging.getInt(at));
    }
    int length = HeaderReader.dataLength(staging);
    if (length > maxData) {
      throw new ProtocolException("data segment of " + length + " bytes, " + maxData + " allowed");
    }
    Pdu header = HeaderReader.read(staging);
    staging.position(staging.position() + Headers.LENGTH + (headerDigest ? DIGEST : 0));
    ByteBuffer place = length == 0 ? EMPTY : handler.place(header, length);
    own = place == null;
    if (place == null) {
      place = ByteBuffer.allocate(length);
    } else if (place.remaining() != length) {
      throw new IllegalStateException("a place of " + place.remaining() + " for " + length);
    }
    destination = place;
    trailer.clear().limit((-length & 3) + (dataDigest && length > 0 ? DIGEST : 0));
    begun = place.position();
    pdu = header;
  }

  /** The digest is that of what the checksum has seen (the lowest byte comes first). */
  private void requireDigest(String of, int given) throws ProtocolException {
    if (Integer.reverseBytes((int) crc.getValue()) != given) {
      throw new ProtocolException("the digest of the " + of + " is wrong");
    }
  }

  private void checkData() throws ProtocolException {
    if (!dataDigest || trailer.limit() == 0 || begun == ABANDONED) {
      return;
    }
    int padding = trailer.limit() - DIGEST;
    crc.reset();
    crc.update(destination.duplicate().position(begun));
    crc.update(trailer.duplicate().position(0).limit(padding));
    requireDigest("data", trailer.getInt(padding));
  }

  /** Reads data and padding; false when the socket has no more for now. */
  private boolean data() throws IOException {
    while (true) {
      int n = Math.min(destination.remaining(), staging.remaining());
      if (n > 0) {
        destination.put(destination.position(), staging, staging.position(), n);
        destination.position(destination.position() + n);
        staging.position(staging.position() + n);
      }
      if (!destination.hasRemaining()) {
        while (trailer.hasRemaining() && staging.hasRemaining()) {
          trailer.put(staging.get());
        }
        if (!trailer.hasRemaining()) {
          checkData();
          return true;
        }
        if (!fill()) {
          return false;
        }
        continue;
      }
      staging.clear();
      scatter[0] = destination;
      scatter[1] = staging;
      long got;
      try {
        got = socket.read(scatter);
      } finally {
        staging.flip();
        scatter[0] = EMPTY;
      }
      if (got < 0) {
        throw new EOFException("the peer closed the connection within a PDU");
      }
      if (got == 0) {
        return false;
      }
      lastReceived = System.nanoTime();
    }
  }

  // ---- sending

  /** Sends a PDU without data. */
  public void send(Pdu header) {
    send(header, EMPTY, null);
  }

  /**
   * Sends a PDU; the socket takes it at the end of the loop's turn or later.
   *
   * @param data position to limit is the data segment; the buffer is the channel's from now on, and
   *     its content must stay until {@code sent} has run
   * @param sent is told on the loop when the data has left; not if the channel closes or drops the
   *     PDU
   */
  public void send(Pdu header, ByteBuffer data, @Nullable Sent sent) {
    if (open) {
      ByteBuffer head = spareHeader();
      Headers.write(header, data.remaining(), head);
      send(head, data, sent);
    }
  }

  private ByteBuffer spareHeader() {
    ByteBuffer head = spareHeaders.poll();
    return head == null ? ByteBuffer.allocateDirect(Headers.LENGTH + DIGEST) : head;
  }

  private void send(ByteBuffer head, ByteBuffer data, @Nullable Sent sent) {
    if (queue.isEmpty()) {
      lastSent = System.nanoTime();
    }
    int length = data.remaining();
    if (headerDigest) {
      crc.reset();
      crc.update(head.duplicate());
      head.limit(Headers.LENGTH + DIGEST).putInt(Headers.LENGTH, digest());
    }
    queue.add(out(head, true, length == 0 ? sent : null));
    if (length > 0) {
      int padding = -length & 3;
      boolean whole = padding == 0 && !dataDigest;
      queue.add(out(data, false, whole ? sent : null));
      if (dataDigest) {
        ByteBuffer tail = ByteBuffer.allocate(padding + DIGEST);
        crc.reset();
        crc.update(data.duplicate());
        crc.update(tail.duplicate().limit(padding));
        queue.add(out(tail.putInt(padding, digest()), false, sent));
      } else if (padding != 0) {
        queue.add(out(zeroes.duplicate().limit(padding), false, sent));
      }
    }
    if (!flushing) {
      flushing = true;
      loop.execute(flush);
    }
  }

  private int digest() {
    return Integer.reverseBytes((int) crc.getValue());
  }

  private Out out(ByteBuffer bytes, boolean header, @Nullable Sent done) {
    Out out = spareOuts.poll();
    out = out == null ? new Out() : out;
    out.bytes = bytes;
    out.header = header;
    out.done = done;
    return out;
  }

  private void flush() {
    flushing = false;
    if (!open) {
      return;
    }
    try {
      while (!queue.isEmpty()) {
        int n = 0;
        long bytes = 0;
        for (Out out : queue) {
          if (n == GATHER_BUFFERS || bytes >= GATHER_BYTES) {
            break;
          }
          gather[n++] = out.bytes;
          bytes += out.bytes.remaining();
        }
        long written = socket.write(gather, 0, n);
        if (written > 0) {
          lastSent = System.nanoTime();
        }
        while (!queue.isEmpty() && !queue.peek().bytes.hasRemaining()) {
          retire(queue.remove());
        }
        if (written < bytes) {
          break;
        }
      }
      interest();
    } catch (IOException e) {
      fail(e);
    }
  }

  private void retire(Out out) {
    Sent done = out.done;
    if (out.header && spareHeaders.size() < 64) {
      spareHeaders.add(out.bytes);
    }
    out.bytes = EMPTY;
    out.done = null;
    if (spareOuts.size() < 128) {
      spareOuts.add(out);
    }
    if (done != null) {
      done.sent();
    }
  }

  /**
   * Forgets what has not begun to leave; the rest of a PDU that has is copied, so that afterwards
   * the channel holds no buffer of anyone's.
   */
  public void dropUnsent() {
    ArrayDeque<Out> kept = new ArrayDeque<>();
    boolean first = true;
    for (Out out : queue) {
      if (out.header && (!first || out.bytes.position() == 0)) {
        break;
      }
      first = false;
      ByteBuffer copy = ByteBuffer.allocate(out.bytes.remaining());
      copy.put(out.bytes).flip();
      kept.add(out(copy, false, null));
    }
    queue.clear();
    queue.addAll(kept);
  }

  private void interest() {
    if (key.isValid()) {
      key.interestOps(
          (paused ? 0 : SelectionKey.OP_READ) | (queue.isEmpty() ? 0 : SelectionKey.OP_WRITE));
    }
  }

  // ---- the end

  /** Closes the connection after a best effort to send what is queued. */
  public void close(String reason) {
    if (open) {
      flush();
      fail(new IOException(reason));
    }
  }

  private void fail(IOException cause) {
    if (!open) {
      return;
    }
    open = false;
    queue.clear();
    key.cancel();
    try {
      socket.close();
    } catch (IOException e) {
      cause.addSuppressed(e);
    }
    handler.closed(cause);
  }
}
