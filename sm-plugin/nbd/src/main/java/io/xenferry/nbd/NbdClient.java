package io.xenferry.nbd;

import static io.xenferry.nbd.NbdProtocol.*;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.block.BlockException.Kind;
import io.xenferry.block.BlockRequests;
import io.xenferry.block.Extent;
import io.xenferry.block.LinkTimes;
import io.xenferry.block.Range;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.function.BiFunction;

/**
 * An export of an NBD server as a block backend: one connection, many requests in flight, a
 * deadline on each.
 *
 * <p>A request that gets no answer in time, a broken connection and a peer that breaks the protocol
 * all make the backend dead. Futures complete on the connection's reading thread.
 */
public final class NbdClient implements BlockBackend {
  /** Zero, trim and status requests carry 32 bits of length; a round number below. */
  private static final long MAX_RANGE = 1L << 31;

  private static final int ZERO_STEP = 1 << 20;

  /** Ranges that a bitmap may have before we say that something is wrong with it. */
  private static final int MAX_DIRTY_RANGES = 50_000_000;

  private final String name;
  private final ClientHandshake.Agreement agreement;
  private final ClientConnection connection;

  /**
   * How to connect.
   *
   * @param connectTimeout for connecting and negotiating together
   * @param requestTimeout for each request, from the call to its answer
   * @param contexts metadata contexts to ask for besides {@code base:allocation}; those that the
   *     server lacks are left out
   * @param tls how to encrypt, if at all; the server must agree
   * @param measured whether to find out what writes wait for, by empty trims behind some of them;
   *     for servers of ours, which answer them at once, since the protocol says nothing of them
   */
  public record Options(
      Duration connectTimeout,
      Duration requestTimeout,
      List<String> contexts,
      Optional<TlsUpgrade> tls,
      boolean measured) {
    /** A disk that takes longer than 30 s to answer is as good as dead for a running guest. */
    public static final Options DEFAULT =
        new Options(
            Duration.ofSeconds(10), Duration.ofSeconds(30), List.of(), Optional.empty(), false);

    public Options {
      contexts = List.copyOf(contexts);
    }

    public Options withContexts(String... names) {
      return new Options(connectTimeout, requestTimeout, List.of(names), tls, measured);
    }

    public Options withTls(TlsUpgrade upgrade) {
      return new Options(connectTimeout, requestTimeout, contexts, Optional.of(upgrade), measured);
    }

    public Options withRequestTimeout(Duration timeout) {
      return new Options(connectTimeout, timeout, contexts, tls, measured);
    }

    public Options withConnectTimeout(Duration timeout) {
      return new Options(timeout, requestTimeout, contexts, tls, measured);
    }

    public Options withMeasure() {
      return new Options(connectTimeout, requestTimeout, contexts, tls, true);
    }
  }

  private NbdClient(String name, ClientHandshake.Agreement agreement, ClientConnection connection) {
    this.name = name;
    this.agreement = agreement;
    this.connection = connection;
  }

  /** The context of the dirty bitmap of this name, as QEMU exports it. */
  public static String dirtyBitmapContext(String bitmap) {
    return "qemu:dirty-bitmap:" + bitmap;
  }

  /**
   * Connects and negotiates; blocks until then.
   *
   * @throws BlockException LOST when nobody answers, TIMEOUT, ACCESS when the export is refused or
   *     unknown, PROTOCOL
   */
  public static NbdClient connect(NbdUri uri, Options options) throws BlockException {
    if (uri.tls() && options.tls().isEmpty()) {
      throw new BlockException(Kind.ACCESS, uri.display() + ": no TLS is configured here");
    }
    String name = uri.display();
    SocketChannel socket = null;
    Deadlines.Watch watch = null;
    try {
      SocketAddress address = uri.address();
      if (address instanceof InetSocketAddress inet) {
        address = new InetSocketAddress(inet.getHostString(), inet.getPort());
        socket = SocketChannel.open();
        socket.setOption(StandardSocketOptions.TCP_NODELAY, true);
      } else {
        socket = SocketChannel.open(java.net.StandardProtocolFamily.UNIX);
      }
      NbdChannel plain = new NbdChannel(socket);
      watch = Deadlines.after(options.connectTimeout(), plain::close);
      socket.connect(address);
      Set<String> wanted = new TreeSet<>(options.contexts());
      wanted.add(BASE_ALLOCATION);
      ClientHandshake.Agreement agreement =
          new ClientHandshake(plain, uri.export()).run(List.copyOf(wanted), options.tls());
      if (watch.cancel()) {
        return new NbdClient(
            name,
            agreement,
            new ClientConnection(name, agreement, options.requestTimeout(), options.measured()));
      }
      throw new IOException("deadline passed");
    } catch (IOException | RuntimeException e) {
      closeQuietly(socket);
      if (watch != null && !watch.cancel()) {
        throw new BlockException(
            Kind.TIMEOUT, name + ": no agreement within " + options.connectTimeout(), e);
      }
      if (e instanceof BlockException b) {
        throw new BlockException(b.kind(), name + ": " + b.getMessage(), b);
      }
      throw new BlockException(Kind.LOST, name + ": " + e, e);
    }
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public long size() {
    return agreement.size();
  }

  @Override
  public int alignment() {
    return agreement.alignment();
  }

  @Override
  public int maxTransfer() {
    return agreement.maxTransfer();
  }

  @Override
  public boolean readOnly() {
    return agreement.has(FLAG_READ_ONLY);
  }

  /** Whether several connections to this export see each other's completed writes and flushes. */
  public boolean multiConn() {
    return agreement.has(FLAG_CAN_MULTI_CONN);
  }

  /** Whether the server offers what a transmission flag stands for. */
  boolean offers(int flag) {
    return agreement.has(flag);
  }

  /** Whether replies come in chunks, which block status needs. */
  boolean structured() {
    return agreement.structured();
  }

  /** The metadata contexts that the server agreed to. */
  public Set<String> contexts() {
    return agreement.contexts().keySet();
  }

  @Override
  public CompletableFuture<Void> read(long offset, ByteBuffer into) {
    int length = into.remaining();
    Optional<BlockException> bad = BlockRequests.checkTransfer(this, offset, length, false);
    if (bad.isPresent()) {
      return CompletableFuture.failedFuture(bad.get());
    }
    return length == 0
        ? connection.alive()
        : connection.submit(new ClientRequest.Read(offset, length, into));
  }

  @Override
  public CompletableFuture<Void> write(long offset, ByteBuffer from) {
    int length = from.remaining();
    Optional<BlockException> bad = BlockRequests.checkTransfer(this, offset, length, true);
    if (bad.isPresent()) {
      return CompletableFuture.failedFuture(bad.get());
    }
    return length == 0
        ? connection.alive()
        : connection.submit(new ClientRequest.Plain(CMD_WRITE, offset, length, Optional.of(from)));
  }

  @Override
  public CompletableFuture<Void> zero(long offset, long length) {
    Optional<BlockException> bad = BlockRequests.checkRange(this, offset, length, true);
    if (bad.isPresent()) {
      return CompletableFuture.failedFuture(bad.get());
    }
    if (agreement.has(FLAG_SEND_WRITE_ZEROES)) {
      return inPieces(offset, length, MAX_RANGE, (at, n) -> plain(CMD_WRITE_ZEROES, at, n));
    }
    int step = Math.min(ZERO_STEP, maxTransfer());
    ByteBuffer zeroes = ByteBuffer.allocateDirect((int) Math.min(step, length));
    return inPieces(
        offset, length, step, (at, n) -> write(at, zeroes.slice(0, Math.toIntExact(n))));
  }

  @Override
  public CompletableFuture<Void> trim(long offset, long length) {
    Optional<BlockException> bad = BlockRequests.checkRange(this, offset, length, true);
    if (bad.isPresent()) {
      return CompletableFuture.failedFuture(bad.get());
    }
    return agreement.has(FLAG_SEND_TRIM)
        ? inPieces(offset, length, MAX_RANGE, (at, n) -> plain(CMD_TRIM, at, n))
        : connection.alive();
  }

  @Override
  public CompletableFuture<Void> flush() {
    // A server that takes no flush says that nothing needs one.
    return agreement.has(FLAG_SEND_FLUSH) ? plain(CMD_FLUSH, 0, 0) : connection.alive();
  }

  @Override
  public CompletableFuture<List<Extent>> extents(long offset, long length) {
    Optional<BlockException> bad = BlockRequests.checkRange(this, offset, length, false);
    if (bad.isPresent()) {
      return CompletableFuture.failedFuture(bad.get());
    }
    if (length == 0) {
      return connection.alive().thenApply(v -> List.of());
    }
    if (!contexts().contains(BASE_ALLOCATION)) {
      return connection.alive().thenApply(v -> List.of(new Extent(offset, length, false)));
    }
    return status(BASE_ALLOCATION, offset, length)
        .thenApply(extents ->
            extents.stream()
                .map(e -> new Extent(e.offset(), e.length(), (e.flags() & STATE_ZERO) != 0))
                .toList());
  }

  /**
   * Extents of a metadata context from {@code offset} on; may stop early, as {@link #extents}.
   *
   * @throws IllegalArgumentException if the server did not agree to the context
   */
  public CompletableFuture<List<StatusExtent>> status(String context, long offset, long length) {
    Integer id = agreement.contexts().get(context);
    if (id == null) {
      throw new IllegalArgumentException(name + ": no metadata context " + context);
    }
    Optional<BlockException> bad = BlockRequests.checkRange(this, offset, length, false);
    if (bad.isPresent() || length == 0) {
      return BlockRequests.failed(Kind.OUT_OF_RANGE, name + ": status " + offset + "+" + length);
    }
    ClientRequest.Status request =
        new ClientRequest.Status(offset, Math.min(length, MAX_RANGE), id);
    return connection.submit(request).thenApply(v -> request.extents());
  }

  /**
   * All that a dirty bitmap says is dirty, ascending, adjacent ranges merged.
   *
   * @param context as of {@link #dirtyBitmapContext}; fails with ACCESS if the server lacks it
   */
  public CompletableFuture<List<Range>> dirtyRanges(String context) {
    if (!contexts().contains(context)) {
      return BlockRequests.failed(Kind.ACCESS, name + ": the server has no " + context);
    }
    CompletableFuture<List<Range>> result = new CompletableFuture<>();
    collectDirty(context, 0, new ArrayList<>(), result);
    return result;
  }

  private void collectDirty(
      String context, long from, List<Range> dirty, CompletableFuture<List<Range>> result) {
    if (from >= size()) {
      result.complete(dirty);
      return;
    }
    status(context, from, size() - from)
        .whenComplete((extents, failure) -> {
          if (failure != null) {
            result.completeExceptionally(BlockRequests.unwrap(failure));
            return;
          }
          long at = from;
          for (StatusExtent e : extents) {
            at = e.end();
            if ((e.flags() & StatusExtent.DIRTY) != 0) {
              append(dirty, e);
            }
          }
          if (dirty.size() > MAX_DIRTY_RANGES) {
            result.completeExceptionally(NbdChannel.protocol("a bitmap without end"));
            return;
          }
          collectDirty(context, at, dirty, result);
        });
  }

  private static void append(List<Range> dirty, StatusExtent e) {
    if (!dirty.isEmpty() && dirty.getLast().end() == e.offset()) {
      Range last = dirty.removeLast();
      dirty.add(new Range(last.offset(), last.length() + e.length()));
    } else {
      dirty.add(new Range(e.offset(), e.length()));
    }
  }

  /** Breaks the connection at once. What is under way fails, and may take effect all the same. */
  public void abort() {
    connection.abort();
  }

  /** Says goodbye, which makes the server end what it has begun, and waits for that shortly. */
  @Override
  public void close() {
    connection.close();
  }

  /**
   * Whether, after {@link #close}, the server has ended the connection by its own word: nothing of
   * what was sent here is under way there any more.
   */
  public boolean ended() {
    return connection.ended();
  }

  @Override
  public LinkTimes linkTimes() {
    return connection.linkTimes();
  }

  /** Why it answers no request any more, unless we have closed it. */
  Optional<String> dead() {
    return connection.dead();
  }

  /** Makes it answer none, as if the connection had broken. */
  void kill(String cause) {
    connection.kill(cause);
  }

  @Override
  public String toString() {
    return "NbdClient[" + name + "]";
  }

  private CompletableFuture<Void> plain(int command, long offset, long length) {
    return connection.submit(new ClientRequest.Plain(command, offset, length, Optional.empty()));
  }

  private CompletableFuture<Void> inPieces(
      long offset,
      long length,
      long step,
      BiFunction<Long, Long, CompletableFuture<Void>> request) {
    if (length == 0) {
      return connection.alive();
    }
    if (length <= step) {
      return request.apply(offset, length);
    }
    CompletableFuture<Void> result = new CompletableFuture<>();
    piece(offset, offset + length, step, request, result);
    return result;
  }

  private static void piece(
      long at,
      long end,
      long step,
      BiFunction<Long, Long, CompletableFuture<Void>> request,
      CompletableFuture<Void> result) {
    if (at >= end) {
      result.complete(null);
      return;
    }
    long n = Math.min(step, end - at);
    request
        .apply(at, n)
        .whenComplete((v, failure) -> {
          if (failure != null) {
            result.completeExceptionally(BlockRequests.unwrap(failure));
          } else {
            piece(at + n, end, step, request, result);
          }
        });
  }

  private static void closeQuietly(@org.jspecify.annotations.Nullable SocketChannel socket) {
    if (socket != null) {
      new NbdChannel(socket).close();
    }
  }
}
