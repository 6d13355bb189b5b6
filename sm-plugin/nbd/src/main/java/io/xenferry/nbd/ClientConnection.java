package io.xenferry.nbd;

import static io.xenferry.nbd.NbdProtocol.*;

import io.xenferry.block.BlockException;
import io.xenferry.block.BlockException.Kind;
import io.xenferry.block.BlockRequests;
import io.xenferry.block.LinkTimes;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A negotiated connection: one thread writes requests, one reads replies.
 *
 * <p>Only the reading thread ends requests, when its loop is over and the writer has ended: so no
 * buffer is touched after its future is done, whoever caused the end.
 */
final class ClientConnection {
  private static final Logger LOG = LoggerFactory.getLogger(ClientConnection.class);

  private static final int MAX_IN_FLIGHT = 1024;

  /** A status chunk of a million extents; QEMU sends an eighth of that at most. */
  private static final int MAX_STATUS_CHUNK = 8 << 20;

  /** How long a server may take to end what it began after we said goodbye. */
  private static final Duration CLOSE_PATIENCE = Duration.ofSeconds(5);

  private final String name;
  private final NbdChannel channel;
  private final boolean structured;
  private final Duration timeout;
  private final WriteWatch watch;
  private final Map<Long, ClientRequest> pending = new ConcurrentHashMap<>();
  private final LinkedBlockingQueue<Outgoing> queue = new LinkedBlockingQueue<>();
  private final Object gate = new Object();
  private final Thread reader;
  private final Thread writer;
  private final Future<?> deadlineCheck;
  private long lastCookie;
  private volatile @Nullable BlockException end;
  private volatile boolean goodbye;
  private volatile boolean ended;
  private volatile int pendingAtEnd;

  /** A request to be written; without one, the goodbye. */
  private record Outgoing(long cookie, Optional<ClientRequest> request) {}

  /**
   * Begins to write and read.
   *
   * @param asks whether empty trims may follow writes, to find out what these wait for
   */
  ClientConnection(
      String name, ClientHandshake.Agreement agreement, Duration timeout, boolean asks) {
    this.name = name;
    this.channel = agreement.channel();
    this.structured = agreement.structured();
    this.timeout = timeout;
    this.watch = new WriteWatch(channel, asks && agreement.has(FLAG_SEND_TRIM));
    reader = Thread.ofPlatform().daemon().name("nbd-read " + name).unstarted(this::readReplies);
    writer = Thread.ofPlatform().daemon().name("nbd-write " + name).unstarted(this::writeRequests);
    long period = Math.clamp(timeout.toMillis() / 8, 5, 500);
    deadlineCheck = Deadlines.every(Duration.ofMillis(period), this::checkDeadlines);
    writer.start();
    reader.start();
  }

  /** A request that has nothing to do but must fail when the connection is dead. */
  CompletableFuture<Void> alive() {
    BlockException ended = end;
    return ended == null
        ? CompletableFuture.completedFuture(null)
        : BlockRequests.failed(ended.kind(), String.valueOf(ended.getMessage()));
  }

  CompletableFuture<Void> submit(ClientRequest request) {
    synchronized (gate) {
      BlockException ended = end;
      if (ended != null) {
        return BlockRequests.failed(ended.kind(), String.valueOf(ended.getMessage()));
      }
      if (pending.size() >= MAX_IN_FLIGHT) {
        return BlockRequests.failed(Kind.BUSY, name + ": " + MAX_IN_FLIGHT + " requests in flight");
      }
      long now = System.nanoTime();
      enqueue(request, now);
      watch.look(request, now).ifPresent(question -> enqueue(question, now));
    }
    return request.future;
  }

  private void enqueue(ClientRequest request, long now) {
    request.deadline = now + timeout.toNanos();
    long cookie = ++lastCookie;
    pending.put(cookie, request);
    queue.add(new Outgoing(cookie, Optional.of(request)));
  }

  LinkTimes linkTimes() {
    return watch.times();
  }

  void close() {
    List<Outgoing> unsent = new ArrayList<>();
    synchronized (gate) {
      if (end == null) {
        end = new BlockException(Kind.CLOSED, name + ": closed");
        queue.drainTo(unsent);
        queue.add(new Outgoing(0, Optional.empty()));
      }
    }
    for (Outgoing o : unsent) {
      pending.remove(o.cookie);
      o.request.ifPresent(r -> r.future.completeExceptionally(closed()));
    }
    if (Thread.currentThread() == reader) {
      channel.close();
      return;
    }
    boolean interrupted = Thread.interrupted();
    try {
      if (!interrupted) {
        reader.join(CLOSE_PATIENCE);
      }
    } catch (InterruptedException e) {
      interrupted = true;
    }
    channel.close();
    while (reader.isAlive()) {
      try {
        reader.join();
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  /** Whether the server answered our goodbye with the end of the connection, all else done. */
  boolean ended() {
    return ended && pendingAtEnd == 0;
  }

  Optional<String> dead() {
    BlockException cause = end;
    return cause == null || cause.kind() == Kind.CLOSED
        ? Optional.empty()
        : Optional.of(String.valueOf(cause.getMessage()));
  }

  void kill(String cause) {
    die(new BlockException(Kind.LOST, cause));
  }

  private BlockException closed() {
    return new BlockException(Kind.CLOSED, name + ": closed");
  }

  void abort() {
    die(closed());
  }

  private void die(BlockException cause) {
    synchronized (gate) {
      if (end == null) {
        end = cause;
        LOG.debug("{} is dead: {}", name, cause.getMessage());
      }
    }
    channel.close();
  }

  private void checkDeadlines() {
    long now = System.nanoTime();
    for (ClientRequest request : pending.values()) {
      if (now - request.deadline > 0) {
        die(new BlockException(Kind.TIMEOUT, name + ": no answer within " + timeout));
        return;
      }
    }
  }

  private void writeRequests() {
    try {
      while (true) {
        Outgoing next = queue.take();
        ByteBuffer frame = channel.frame().putInt(REQUEST_MAGIC).putShort((short) 0);
        if (next.request.isEmpty()) {
          frame.putShort((short) CMD_DISC).putLong(0).putLong(0).putInt(0);
          goodbye = true;
          channel.send();
          return;
        }
        ClientRequest request = next.request.get();
        frame.putShort((short) request.command).putLong(next.cookie);
        frame.putLong(request.offset).putInt((int) request.length);
        if (request.payload().isPresent()) {
          channel.send(request.payload().get());
        } else {
          channel.send();
        }
      }
    } catch (IOException e) {
      die(new BlockException(Kind.LOST, name + ": " + e, e));
    } catch (InterruptedException e) {
      LOG.trace("{}: the reader told the writer to end", name);
    } catch (RuntimeException | Error e) {
      die(new BlockException(Kind.IO, name + ": " + e, e));
    }
  }

  private void readReplies() {
    try {
      while (true) {
        int magic = channel.readInt();
        if (magic == SIMPLE_REPLY_MAGIC) {
          simpleReply();
        } else if (magic == STRUCTURED_REPLY_MAGIC && structured) {
          chunk();
        } else {
          throw NbdChannel.protocol("no reply magic");
        }
      }
    } catch (BlockException e) {
      die(new BlockException(e.kind(), name + ": " + e.getMessage(), e));
    } catch (EOFException e) {
      ended = goodbye;
      die(new BlockException(Kind.LOST, name + ": " + e, e));
    } catch (IOException e) {
      die(new BlockException(Kind.LOST, name + ": " + e, e));
    } catch (RuntimeException | Error e) {
      LOG.error("{}: the reading thread failed", name, e);
      die(new BlockException(Kind.IO, name + ": " + e, e));
    } finally {
      finish();
    }
  }

  private void finish() {
    deadlineCheck.cancel(false);
    channel.close();
    writer.interrupt();
    boolean interrupted = false;
    while (writer.isAlive()) {
      try {
        if (!writer.join(Duration.ofSeconds(1))) {
          LOG.warn("{}: the writing thread does not end", name);
        }
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
    BlockException cause = end;
    BlockException failure = cause == null ? closed() : cause;
    // New requests are refused since end was set under the gate.
    pendingAtEnd = pending.size();
    pending.values().forEach(r -> r.future.completeExceptionally(failure));
    pending.clear();
  }

  private ClientRequest requestOf(long cookie) throws BlockException {
    ClientRequest request = pending.get(cookie);
    if (request == null) {
      throw NbdChannel.protocol("a reply that nobody waits for");
    }
    return request;
  }

  private void simpleReply() throws IOException {
    int error = channel.readInt();
    long cookie = channel.readLong();
    ClientRequest request = requestOf(cookie);
    if (structured && !(request instanceof ClientRequest.Plain)) {
      throw NbdChannel.protocol("a simple reply where a structured one is due");
    }
    if (error != 0) {
      noteError(request, error, "");
    } else if (request instanceof ClientRequest.Read read) {
      channel.readFully(read.place(read.offset, read.length));
    }
    finished(cookie, request);
  }

  private void chunk() throws IOException {
    int flags = channel.readShort();
    int type = Short.toUnsignedInt(channel.readShort());
    long cookie = channel.readLong();
    int length = channel.readInt();
    ClientRequest request = requestOf(cookie);
    if (length < 0 || length > MAX_PAYLOAD + 8) {
      throw NbdChannel.protocol("a chunk of " + Integer.toUnsignedString(length) + " bytes");
    }
    switch (type) {
      case CHUNK_NONE -> {
        if (length != 0 || (flags & CHUNK_DONE) == 0) {
          throw NbdChannel.protocol("a none chunk with content");
        }
      }
      case CHUNK_OFFSET_DATA -> data(request, length);
      case CHUNK_OFFSET_HOLE -> hole(request, length);
      case CHUNK_BLOCK_STATUS -> status(request, length);
      default -> {
        if ((type & 1 << 15) == 0) {
          throw NbdChannel.protocol("a chunk of unknown type " + type);
        }
        error(request, type, length);
      }
    }
    if ((flags & CHUNK_DONE) != 0) {
      finished(cookie, request);
    }
  }

  private void data(ClientRequest request, int length) throws IOException {
    if (!(request instanceof ClientRequest.Read read) || length <= 8) {
      throw NbdChannel.protocol("a data chunk that does not fit");
    }
    long at = channel.readLong();
    channel.readFully(read.place(at, length - 8));
  }

  private void hole(ClientRequest request, int length) throws IOException {
    if (!(request instanceof ClientRequest.Read read) || length != 12) {
      throw NbdChannel.protocol("a hole chunk that does not fit");
    }
    long at = channel.readLong();
    ByteBuffer place = read.place(at, Integer.toUnsignedLong(channel.readInt()));
    while (place.remaining() >= Long.BYTES) {
      place.putLong(0);
    }
    while (place.hasRemaining()) {
      place.put((byte) 0);
    }
  }

  private void status(ClientRequest request, int length) throws IOException {
    if (!(request instanceof ClientRequest.Status status)
        || length < 12
        || length % 8 != 4
        || length > MAX_STATUS_CHUNK + 4) {
      throw NbdChannel.protocol("a status chunk that does not fit");
    }
    boolean wanted = channel.readInt() == status.context;
    for (int i = 0; i < (length - 4) / 8; i++) {
      long bytes = Integer.toUnsignedLong(channel.readInt());
      int flags = channel.readInt();
      if (wanted) {
        status.add(bytes, flags);
      }
    }
  }

  private void error(ClientRequest request, int type, int length) throws IOException {
    if (length < 6) {
      throw NbdChannel.protocol("a truncated error chunk");
    }
    int error = channel.readInt();
    int textLength = Short.toUnsignedInt(channel.readShort());
    int rest = length - 6 - textLength;
    if (rest < 0 || error == 0 || type == CHUNK_ERROR_OFFSET && rest != 8) {
      throw NbdChannel.protocol("an error chunk that does not fit");
    }
    String text = channel.readString(textLength);
    channel.skip(rest);
    noteError(request, error, text);
  }

  private void noteError(ClientRequest request, int error, String text) throws IOException {
    Kind kind = kindOf(error);
    BlockException failure =
        new BlockException(kind, name + ": error " + error + (text.isEmpty() ? "" : ": " + text));
    request.error = Optional.of(failure);
    if (kind == Kind.LOST) {
      throw new BlockException(kind, "the server shuts down");
    }
  }

  private void finished(long cookie, ClientRequest request) throws BlockException {
    if (request.error.isEmpty() && !request.isComplete()) {
      throw NbdChannel.protocol("a reply that lacks data");
    }
    pending.remove(cookie);
    if (request.error.isPresent()) {
      request.future.completeExceptionally(request.error.get());
    } else {
      request.future.complete(null);
    }
  }
}
