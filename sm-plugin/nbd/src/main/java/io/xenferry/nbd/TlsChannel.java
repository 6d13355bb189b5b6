package io.xenferry.nbd;

import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ByteChannel;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.security.cert.CertificateEncodingException;
import java.util.HexFormat;
import java.util.Optional;
import java.util.concurrent.atomic.LongAdder;
import java.util.concurrent.locks.ReentrantLock;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLEngineResult;
import javax.net.ssl.SSLEngineResult.HandshakeStatus;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLPeerUnverifiedException;

/**
 * TLS by an engine over a blocking channel.
 *
 * <p>{@link #in} and {@link #clear} belong to whoever holds the lock for reading, {@link #out} to
 * whoever holds the one for writing; the engine itself may be used by both. A reader that must
 * answer something (a change of keys) takes the lock for writing too, never the other way round.
 */
final class TlsChannel implements SecureChannel {
  /** Records in one read or write of the socket: eight of 16 KiB, as much as pays. */
  private static final int RECORDS = 8;

  /** Rounds of a handshake; an honest one takes about ten. */
  private static final int MAX_ROUNDS = 200;

  private final ByteChannel plain;
  private final SSLEngine engine;
  private final ReentrantLock reading = new ReentrantLock();
  private final ReentrantLock writing = new ReentrantLock();
  private final ByteBuffer in;
  private final ByteBuffer clear;
  private final ByteBuffer out;
  private final int record;
  private final LongAdder ciphers = new LongAdder();
  private boolean ended;

  TlsChannel(ByteChannel plain, SSLEngine engine) {
    this.plain = plain;
    this.engine = engine;
    int packet = engine.getSession().getPacketBufferSize();
    this.record = engine.getSession().getApplicationBufferSize();
    this.in = ByteBuffer.allocateDirect(RECORDS * packet).flip();
    this.clear = ByteBuffer.allocateDirect(record).flip();
    this.out = ByteBuffer.allocateDirect(RECORDS * packet);
  }

  void handshake() throws IOException {
    engine.beginHandshake();
    for (int round = 0; round < MAX_ROUNDS; round++) {
      switch (engine.getHandshakeStatus()) {
        case NEED_TASK -> runTasks();
        case NEED_WRAP -> writeRecord();
        case NEED_UNWRAP, NEED_UNWRAP_AGAIN -> readHandshake();
        case FINISHED, NOT_HANDSHAKING -> {
          return;
        }
      }
    }
    throw new SSLException("a handshake without end");
  }

  private void readHandshake() throws IOException {
    clear.clear();
    SSLEngineResult result;
    try {
      result = engine.unwrap(in, clear);
    } catch (SSLException e) {
      sendAlert();
      throw e;
    } finally {
      clear.flip();
    }
    switch (result.getStatus()) {
      case BUFFER_UNDERFLOW -> fill();
      case CLOSED -> throw new SSLException("the peer ended the handshake");
      case OK, BUFFER_OVERFLOW -> {}
    }
  }

  /** The peer learns why, if it still listens. */
  private void sendAlert() {
    try {
      writeRecord();
    } catch (IOException e) {
      // The handshake has failed already, for the reason that is being thrown.
      return;
    }
  }

  private void runTasks() {
    for (Runnable task = engine.getDelegatedTask();
        task != null;
        task = engine.getDelegatedTask()) {
      task.run();
    }
  }

  private void fill() throws IOException {
    in.compact();
    try {
      if (plain.read(in) < 0) {
        throw new IOException("the connection was cut");
      }
    } finally {
      in.flip();
    }
  }

  @Override
  public int read(ByteBuffer into) throws IOException {
    reading.lock();
    try {
      if (!into.hasRemaining()) {
        return 0;
      }
      while (true) {
        if (clear.hasRemaining()) {
          return move(into);
        }
        if (ended) {
          return -1;
        }
        int read = unwrap(into);
        if (read > 0) {
          return read;
        }
      }
    } finally {
      reading.unlock();
    }
  }

  private int move(ByteBuffer into) {
    int n = Math.min(into.remaining(), clear.remaining());
    into.put(clear.slice(clear.position(), n));
    clear.position(clear.position() + n);
    return n;
  }

  /** As many records as are there and fit; 0 when the caller is to look again. */
  private int unwrap(ByteBuffer into) throws IOException {
    int from = into.position();
    while (true) {
      boolean direct = into.remaining() >= record;
      if (!direct && into.position() > from) {
        return into.position() - from;
      }
      SSLEngineResult result;
      long began = System.nanoTime();
      if (direct) {
        result = engine.unwrap(in, into);
      } else {
        clear.clear();
        try {
          result = engine.unwrap(in, clear);
        } finally {
          clear.flip();
        }
      }
      ciphers.add(System.nanoTime() - began);
      switch (result.getStatus()) {
        case CLOSED -> {
          ended = true;
          return into.position() - from;
        }
        case BUFFER_UNDERFLOW -> {
          if (into.position() > from) {
            return into.position() - from;
          }
          fill();
        }
        case BUFFER_OVERFLOW -> throw new SSLException("a record beyond all bounds");
        case OK -> {
          answer(result.getHandshakeStatus());
          if (!direct && clear.hasRemaining()) {
            return 0;
          }
        }
      }
    }
  }

  /** What follows the handshake: tickets, which need nothing, and changes of keys. */
  private void answer(HandshakeStatus status) throws IOException {
    if (status == HandshakeStatus.NEED_TASK) {
      runTasks();
    }
    if (engine.getHandshakeStatus() == HandshakeStatus.NEED_WRAP) {
      writeRecord();
    }
  }

  /** A record of the engine's own. */
  private void writeRecord() throws IOException {
    writing.lock();
    try {
      wrap(ByteBuffer.allocate(0));
      drain();
    } finally {
      writing.unlock();
    }
  }

  @Override
  public int write(ByteBuffer from) throws IOException {
    writing.lock();
    try {
      int start = from.position();
      while (from.hasRemaining()) {
        if (!wrap(from)) {
          drain();
        }
      }
      drain();
      return from.position() - start;
    } finally {
      writing.unlock();
    }
  }

  /** False when {@link #out} must be drained first. */
  private boolean wrap(ByteBuffer from) throws IOException {
    long began = System.nanoTime();
    SSLEngineResult result = engine.wrap(from, out);
    ciphers.add(System.nanoTime() - began);
    return switch (result.getStatus()) {
      case OK -> true;
      case BUFFER_OVERFLOW -> {
        if (out.position() == 0) {
          throw new SSLException("a record beyond all bounds");
        }
        yield false;
      }
      case CLOSED -> {
        if (from.hasRemaining()) {
          throw new EOFException("the connection was closed");
        }
        yield true;
      }
      case BUFFER_UNDERFLOW -> throw new SSLException("the engine cannot wrap");
    };
  }

  private void drain() throws IOException {
    out.flip();
    try {
      while (out.hasRemaining()) {
        plain.write(out);
      }
    } finally {
      out.clear();
    }
  }

  @Override
  public long cipherNanos() {
    return ciphers.sum();
  }

  @Override
  public void sayGoodbye() throws IOException {
    writing.lock();
    try {
      engine.closeOutbound();
      wrap(ByteBuffer.allocate(0));
      drain();
    } finally {
      writing.unlock();
    }
  }

  @Override
  public Optional<String> peer() {
    try {
      byte[] certificate = engine.getSession().getPeerCertificates()[0].getEncoded();
      byte[] digest = MessageDigest.getInstance("SHA-256").digest(certificate);
      return Optional.of(HexFormat.of().formatHex(digest));
    } catch (SSLPeerUnverifiedException e) {
      return Optional.empty();
    } catch (NoSuchAlgorithmException | CertificateEncodingException e) {
      throw new IllegalStateException(e);
    }
  }

  @Override
  public boolean isOpen() {
    return plain.isOpen();
  }

  @Override
  public void close() throws IOException {
    plain.close();
  }
}
