package io.xenferry.block;

import java.nio.ByteBuffer;
import java.util.concurrent.CompletableFuture;

/** Refuses whatever would change the device. */
final class ReadOnlyBackend extends ForwardingBackend {
  ReadOnlyBackend(BlockBackend delegate) {
    super(delegate);
  }

  @Override
  public boolean readOnly() {
    return true;
  }

  @Override
  public CompletableFuture<Void> write(long offset, ByteBuffer from) {
    return refuse();
  }

  @Override
  public CompletableFuture<Void> zero(long offset, long length) {
    return refuse();
  }

  @Override
  public CompletableFuture<Void> trim(long offset, long length) {
    return refuse();
  }

  private CompletableFuture<Void> refuse() {
    return BlockRequests.failed(BlockException.Kind.READ_ONLY, name() + ": opened read-only");
  }
}
