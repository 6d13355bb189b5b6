package io.xenferry.nbd;

import static io.xenferry.nbd.NbdProtocol.*;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.block.BlockException.Kind;
import io.xenferry.block.BlockRequests;
import io.xenferry.block.Extent;
import io.xenferry.block.ZeroScan;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.Semaphore;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One client: a thread negotiates and then reads requests; the backend completes them on threads of
 * its own; a second thread writes the replies.
 */
final class ServerSession {
  private static final Logger LOG = LoggerFactory.getLogger(ServerSession.class);

  /** Extents in one status chunk, as in QEMU. */
  static final int MAX_EXTENTS = 128 << 10;

  /** Below this a hole chunk saves nothing. */
  private static final int MIN_HOLE = 4096;

  private final NbdExportServer server;
  private final SocketChannel socket;
  private final Semaphore inFlight;
  private final ReplyWriter replies;
  private final long began = System.nanoTime();
  private volatile boolean negotiated;

  /** When the client began to owe us the rest of a frame; 0 when it owes nothing. */
  private volatile long owingSince;

  private volatile long owingLimit;

  ServerSession(NbdExportServer server, SocketChannel socket) {
    this.server = server;
    this.socket = socket;
    this.inFlight = new Semaphore(server.limits().inFlight());
    this.replies = new ReplyWriter(this, server.buffers());
  }

  void start() {
    Thread.ofPlatform().daemon().name("nbd-serve " + server.address()).start(this::run);
  }

  /** When it began, by System.nanoTime. */
  long began() {
    return began;
  }

  /** Whether the client has not come to an export yet. */
  boolean negotiates() {
    return !negotiated;
  }

  /** Ends the session from any thread; requests that the backend has go on to their end. */
  void disconnect() {
    try {
      socket.close();
    } catch (IOException e) {
      LOG.debug("closing a connection", e);
    }
  }

  private void run() {
    ScheduledFuture<?> watch = Deadlines.every(watchPeriod(), this::checkStall);
    try {
      owes(server.limits().negotiation());
      Optional<ServerHandshake.Agreement> agreement =
          new ServerHandshake(server, new NbdChannel(socket), () -> negotiated = true).run();
      owesNothing();
      if (agreement.isPresent() && agreement.get().tenancy().join(this)) {
        serve(agreement.get());
      }
    } catch (EOFException e) {
      LOG.debug("{}: a client left without a word", server.address());
    } catch (IOException e) {
      LOG.debug("{}: a client is gone: {}", server.address(), e.toString());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } catch (RuntimeException | Error e) {
      LOG.error("{}: a session failed", server.address(), e);
    } finally {
      watch.cancel(false);
      disconnect();
      server.ended(this);
    }
  }

  private void serve(ServerHandshake.Agreement agreement) throws IOException, InterruptedException {
    try {
      replies.start(agreement.channel(), agreement.structured());
      readRequests(agreement);
      // Goodbye: end what was begun, and say so before the connection closes.
      inFlight.acquire(server.limits().inFlight());
      agreement.channel().sayGoodbye();
    } finally {
      replies.stop();
      agreement.tenancy().part(this);
    }
  }

  private void readRequests(ServerHandshake.Agreement agreement)
      throws IOException, InterruptedException {
    NbdChannel channel = agreement.channel();
    while (true) {
      // Between requests a client may be silent for as long as it likes; within one it may not.
      channel.awaitByte();
      owes(server.limits().stall());
      int magic = channel.readInt();
      if (magic != REQUEST_MAGIC) {
        throw NbdChannel.protocol("no request magic");
      }
      Request request =
          new Request(
              Short.toUnsignedInt(channel.readShort()),
              Short.toUnsignedInt(channel.readShort()),
              channel.readLong(),
              channel.readLong(),
              Integer.toUnsignedLong(channel.readInt()));
      if (request.command == CMD_DISC) {
        owesNothing();
        return;
      }
      if (request.command == CMD_WRITE && request.length > MAX_PAYLOAD) {
        throw NbdChannel.protocol("a write of " + request.length + " bytes");
      }
      owesNothing();
      inFlight.acquire();
      boolean handed = false;
      try {
        handed = begin(agreement, request);
      } finally {
        if (!handed) {
          inFlight.release();
        }
      }
    }
  }

  private record Request(int flags, int command, long cookie, long offset, long length) {
    boolean has(int flag) {
      return (flags & flag) != 0;
    }
  }

  /** Gives the request to the backend; true once its completion is sure to release the permit. */
  private boolean begin(ServerHandshake.Agreement agreement, Request r)
      throws IOException, InterruptedException {
    Tenancy mine = agreement.tenancy();
    BlockBackend backend = agreement.export().backend();
    ByteBuffer buffer = null;
    boolean transfer = r.command == CMD_READ || r.command == CMD_WRITE;
    if (transfer && r.length > 0 && r.length <= MAX_PAYLOAD) {
      buffer = server.buffers().take((int) r.length);
    }
    boolean entered = false;
    try {
      if (r.command == CMD_WRITE && buffer != null) {
        owes(server.limits().stall());
        agreement.channel().readFully(buffer);
        owesNothing();
        buffer.flip();
      }
      entered = mine.enter();
      if (!entered) {
        throw new EOFException("the export was removed");
      }
    } finally {
      if (!entered && buffer != null) {
        server.buffers().give(buffer);
      }
    }
    int error = check(backend, agreement, r);
    ByteBuffer payload = buffer;
    if (error != 0) {
      ended(mine, new ReplyWriter.Failure(r.cookie, mustStructure(r), error, ""), payload);
      return true;
    }
    issue(backend, agreement, r, payload)
        .whenComplete((reply, failure) -> {
          if (failure == null) {
            ended(mine, reply, payload);
          } else {
            BlockException e = BlockRequests.unwrap(failure);
            String text = String.valueOf(e.getMessage());
            ended(
                mine,
                new ReplyWriter.Failure(r.cookie, mustStructure(r), errorOf(e.kind()), text),
                payload);
          }
        });
    return true;
  }

  private void ended(Tenancy mine, ReplyWriter.Reply reply, @Nullable ByteBuffer payload) {
    mine.leave();
    replies.add(reply, Optional.ofNullable(payload), inFlight);
  }

  private static boolean mustStructure(Request r) {
    return r.command == CMD_READ || r.command == CMD_BLOCK_STATUS;
  }

  private static int check(BlockBackend backend, ServerHandshake.Agreement agreement, Request r) {
    int known =
        switch (r.command) {
          case CMD_READ -> CMD_FLAG_DF;
          case CMD_WRITE, CMD_TRIM -> CMD_FLAG_FUA;
          case CMD_WRITE_ZEROES -> CMD_FLAG_FUA | CMD_FLAG_NO_HOLE;
          case CMD_BLOCK_STATUS -> CMD_FLAG_REQ_ONE;
          default -> 0;
        };
    // Clients may send FUA with any command once it is offered.
    if ((r.flags & ~(known | CMD_FLAG_FUA)) != 0) {
      return EINVAL;
    }
    boolean write =
        r.command == CMD_WRITE || r.command == CMD_TRIM || r.command == CMD_WRITE_ZEROES;
    switch (r.command) {
      case CMD_FLUSH -> {
        return r.offset == 0 && r.length == 0 ? 0 : EINVAL;
      }
      case CMD_BLOCK_STATUS -> {
        if (agreement.contexts().isEmpty() || r.length == 0) {
          return EINVAL;
        }
      }
      case CMD_READ -> {
        if (r.length > MAX_PAYLOAD) {
          return EINVAL;
        }
      }
      case CMD_WRITE, CMD_TRIM, CMD_WRITE_ZEROES -> {}
      default -> {
        return EINVAL;
      }
    }
    Optional<BlockException> bad =
        r.command == CMD_READ || r.command == CMD_WRITE
            ? BlockRequests.checkTransfer(backend, r.offset, r.length, write)
            : BlockRequests.checkRange(backend, r.offset, r.length, write);
    if (bad.isEmpty()) {
      return 0;
    }
    boolean beyond = write && bad.get().kind() == Kind.OUT_OF_RANGE;
    return beyond && r.offset + r.length > backend.size() ? ENOSPC : errorOf(bad.get().kind());
  }

  private CompletableFuture<ReplyWriter.Reply> issue(
      BlockBackend backend,
      ServerHandshake.Agreement agreement,
      Request r,
      @Nullable ByteBuffer buffer) {
    if (r.command == CMD_BLOCK_STATUS) {
      return status(backend, agreement, r);
    }
    if (r.command == CMD_TRIM && r.length == 0 && r.flags == 0) {
      // A client of ours asks what its writes wait for: for the network as long as it is not told.
      return CompletableFuture.completedFuture(new ReplyWriter.Done(r.cookie));
    }
    ByteBuffer content = buffer == null ? ByteBuffer.allocate(0) : buffer;
    CompletableFuture<Void> done =
        switch (r.command) {
          case CMD_READ -> backend.read(r.offset, content.duplicate());
          case CMD_WRITE -> backend.write(r.offset, content.duplicate());
          case CMD_TRIM -> backend.trim(r.offset, r.length);
          case CMD_WRITE_ZEROES -> backend.zero(r.offset, r.length);
          default -> backend.flush();
        };
    if (r.command == CMD_READ) {
      return done.thenApply(v -> readReply(agreement, r, content));
    }
    if (r.has(CMD_FLAG_FUA) && r.command != CMD_FLUSH) {
      done = done.thenCompose(v -> backend.flush());
    }
    return done.thenApply(v -> new ReplyWriter.Done(r.cookie));
  }

  private static ReplyWriter.Reply readReply(
      ServerHandshake.Agreement agreement, Request r, ByteBuffer content) {
    boolean hole =
        agreement.structured()
            && r.length >= MIN_HOLE
            && !r.has(CMD_FLAG_DF)
            && ZeroScan.isZero(content);
    return hole
        ? new ReplyWriter.Hole(r.cookie, r.offset, (int) r.length)
        : new ReplyWriter.Content(r.cookie, r.offset, content);
  }

  private static CompletableFuture<ReplyWriter.Reply> status(
      BlockBackend backend, ServerHandshake.Agreement agreement, Request r) {
    int limit = r.has(CMD_FLAG_REQ_ONE) ? 1 : MAX_EXTENTS;
    return backend
        .extents(r.offset, r.length)
        .thenApply(extents -> {
          List<ReplyWriter.StatusChunk> chunks = new ArrayList<>();
          for (ServerHandshake.Context context : agreement.contexts()) {
            BlockStatusSource source = agreement.export().contexts().get(context.name());
            List<StatusExtent> status =
                source == null
                    ? extents.stream().map(ServerSession::allocation).toList()
                    : source.status(r.offset, r.length);
            chunks.add(
                new ReplyWriter.StatusChunk(
                    context.id(), status.subList(0, Math.min(limit, status.size()))));
          }
          return new ReplyWriter.Status(r.cookie, chunks);
        });
  }

  private static StatusExtent allocation(Extent e) {
    return new StatusExtent(e.offset(), e.length(), e.zero() ? STATE_HOLE | STATE_ZERO : 0);
  }

  private void owes(Duration limit) {
    owingLimit = limit.toNanos();
    owingSince = System.nanoTime() | 1;
  }

  private void owesNothing() {
    owingSince = 0;
  }

  private Duration watchPeriod() {
    Duration shorter =
        server.limits().negotiation().compareTo(server.limits().stall()) < 0
            ? server.limits().negotiation()
            : server.limits().stall();
    return Duration.ofMillis(Math.clamp(shorter.toMillis() / 8, 5, 1000));
  }

  private void checkStall() {
    long since = owingSince;
    boolean stalled = since != 0 && System.nanoTime() - since > owingLimit;
    if (stalled || replies.stalledFor(server.limits().stall())) {
      LOG.info("{}: a client stalled and was disconnected", server.address());
      disconnect();
    }
  }
}
