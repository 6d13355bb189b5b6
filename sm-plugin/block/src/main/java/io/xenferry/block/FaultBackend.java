package io.xenferry.block;

import io.xenferry.block.BlockException.Kind;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Function;
import java.util.function.Supplier;

/**
 * Fails on demand, as a test or a rehearsal says.
 *
 * <p>The plan is asked before each request and may change at any time. Thread-safe if the plan is.
 */
public final class FaultBackend extends ForwardingBackend {
  private final AtomicLong count = new AtomicLong();
  private final Set<CompletableFuture<?>> hanging = ConcurrentHashMap.newKeySet();
  private volatile Plan plan = Plan.NONE;
  private volatile Optional<Kind> dead = Optional.empty();
  private volatile boolean closed;

  /** What happens to one request. */
  public sealed interface Fault {
    /** It fails and changes nothing. */
    record Fail(Kind kind) implements Fault {}

    /** It takes effect, and fails all the same: the answer was lost. */
    record FailAfter(Kind kind) implements Fault {}

    /** The first {@code bytes} of a write take effect, then it fails. */
    record Short(int bytes, Kind kind) implements Fault {}

    /** It never completes, until the backend is closed. */
    record Hang() implements Fault {}

    /** It fails, and so does every later request. */
    record Die(Kind kind) implements Fault {}
  }

  /** Decides about each request. */
  @FunctionalInterface
  public interface Plan {
    Plan NONE = (number, op, offset, length) -> Optional.empty();

    /**
     * Empty lets it pass.
     *
     * @param number of the request, from 1, all kinds counted together
     */
    Optional<Fault> faultOf(long number, BlockOp op, long offset, long length);

    /** Only the nth request of a kind, counted from now, meets the fault. */
    static Plan nth(BlockOp op, long n, Fault fault) {
      AtomicLong seen = new AtomicLong();
      return (number, o, offset, length) ->
          o == op && seen.incrementAndGet() == n ? Optional.of(fault) : Optional.empty();
    }

    /** Every request of a kind meets the fault. */
    static Plan every(BlockOp op, Fault fault) {
      return (number, o, offset, length) -> o == op ? Optional.of(fault) : Optional.empty();
    }

    /** Every request that touches the range meets the fault, like a bad sector. */
    static Plan touching(Range range, Fault fault) {
      return (number, o, offset, length) ->
          offset < range.end() && range.offset() < offset + length
              ? Optional.of(fault)
              : Optional.empty();
    }
  }

  public FaultBackend(BlockBackend delegate) {
    super(delegate);
  }

  /** Follows this plan from now on. */
  public FaultBackend follow(Plan value) {
    plan = value;
    return this;
  }

  /** Every request from now on fails, as after a lost connection. */
  public void die(Kind kind) {
    dead = Optional.of(kind);
  }

  @Override
  public CompletableFuture<Void> read(long offset, ByteBuffer into) {
    return meet(
        BlockOp.READ,
        offset,
        into.remaining(),
        () -> delegate().read(offset, into),
        s -> refused(s.kind()));
  }

  @Override
  public CompletableFuture<Void> write(long offset, ByteBuffer from) {
    return meet(
        BlockOp.WRITE,
        offset,
        from.remaining(),
        () -> delegate().write(offset, from),
        s ->
            delegate()
                .write(offset, from.slice(from.position(), Math.min(s.bytes(), from.remaining())))
                .thenCompose(v -> refused(s.kind())));
  }

  @Override
  public CompletableFuture<Void> zero(long offset, long length) {
    return meet(
        BlockOp.ZERO,
        offset,
        length,
        () -> delegate().zero(offset, length),
        s -> refused(s.kind()));
  }

  @Override
  public CompletableFuture<Void> trim(long offset, long length) {
    return meet(
        BlockOp.TRIM,
        offset,
        length,
        () -> delegate().trim(offset, length),
        s -> refused(s.kind()));
  }

  @Override
  public CompletableFuture<Void> flush() {
    return meet(BlockOp.FLUSH, 0, 0, () -> delegate().flush(), s -> refused(s.kind()));
  }

  @Override
  public CompletableFuture<List<Extent>> extents(long offset, long length) {
    return meet(
        BlockOp.EXTENTS,
        offset,
        length,
        () -> delegate().extents(offset, length),
        s -> refused(s.kind()));
  }

  /** What hangs fails with CLOSED. */
  @Override
  public void close() {
    closed = true;
    hanging.forEach(this::endHanging);
    super.close();
  }

  private <T> CompletableFuture<T> meet(
      BlockOp op,
      long offset,
      long length,
      Supplier<CompletableFuture<T>> request,
      Function<Fault.Short, CompletableFuture<T>> cutShort) {
    Optional<Kind> already = dead;
    if (already.isPresent()) {
      return refused(already.get());
    }
    Optional<Fault> fault = plan.faultOf(count.incrementAndGet(), op, offset, length);
    if (fault.isEmpty()) {
      return request.get();
    }
    return switch (fault.get()) {
      case Fault.Fail(Kind kind) -> refused(kind);
      case Fault.FailAfter(Kind kind) -> request.get().thenCompose(v -> refused(kind));
      case Fault.Short cut -> cutShort.apply(cut);
      case Fault.Hang() -> hang();
      case Fault.Die(Kind kind) -> {
        die(kind);
        yield refused(kind);
      }
    };
  }

  private <T> CompletableFuture<T> hang() {
    CompletableFuture<T> future = new CompletableFuture<>();
    hanging.add(future);
    if (closed) {
      endHanging(future);
    }
    return future;
  }

  private void endHanging(CompletableFuture<?> future) {
    future.completeExceptionally(new BlockException(Kind.CLOSED, name() + ": closed"));
    hanging.remove(future);
  }

  private <T> CompletableFuture<T> refused(Kind kind) {
    return BlockRequests.failed(kind, name() + ": fault on demand");
  }
}
