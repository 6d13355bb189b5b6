package io.xenferry.block;

import java.nio.ByteBuffer;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Supplier;

/** Holds reads and writes back until a rate limit lets their bytes go. */
public final class RateLimitedBackend extends ForwardingBackend {
  private final RateLimit limit;
  private final Set<CompletableFuture<Void>> waiting = ConcurrentHashMap.newKeySet();
  private volatile boolean closed;

  public RateLimitedBackend(BlockBackend delegate, RateLimit limit) {
    super(delegate);
    this.limit = limit;
  }

  @Override
  public CompletableFuture<Void> read(long offset, ByteBuffer into) {
    return after(into.remaining(), () -> delegate().read(offset, into));
  }

  @Override
  public CompletableFuture<Void> write(long offset, ByteBuffer from) {
    return after(from.remaining(), () -> delegate().write(offset, from));
  }

  /** Those who wait for their turn fail with CLOSED. */
  @Override
  public void close() {
    closed = true;
    waiting.forEach(this::refuse);
    super.close();
  }

  private CompletableFuture<Void> after(long bytes, Supplier<CompletableFuture<Void>> request) {
    CompletableFuture<Void> admitted = limit.acquire(bytes);
    if (admitted.isDone()) {
      return request.get();
    }
    waiting.add(admitted);
    if (closed) {
      refuse(admitted);
    }
    return admitted
        .whenComplete((v, e) -> waiting.remove(admitted))
        .thenCompose(v -> request.get());
  }

  private void refuse(CompletableFuture<Void> admitted) {
    admitted.completeExceptionally(
        new BlockException(BlockException.Kind.CLOSED, name() + ": closed"));
  }
}
