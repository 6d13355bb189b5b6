package io.xenferry.block;

import java.nio.ByteBuffer;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/** Passes everything on to another backend and closes it; decorators override what they change. */
public abstract class ForwardingBackend implements BlockBackend {
  private final BlockBackend delegate;

  protected ForwardingBackend(BlockBackend delegate) {
    this.delegate = delegate;
  }

  /** A view that refuses writes; closing it closes the backend. */
  public static BlockBackend readOnly(BlockBackend backend) {
    return backend.readOnly() ? backend : new ReadOnlyBackend(backend);
  }

  protected final BlockBackend delegate() {
    return delegate;
  }

  @Override
  public String name() {
    return delegate.name();
  }

  @Override
  public long size() {
    return delegate.size();
  }

  @Override
  public int alignment() {
    return delegate.alignment();
  }

  @Override
  public int maxTransfer() {
    return delegate.maxTransfer();
  }

  @Override
  public boolean readOnly() {
    return delegate.readOnly();
  }

  @Override
  public CompletableFuture<Void> read(long offset, ByteBuffer into) {
    return delegate.read(offset, into);
  }

  @Override
  public CompletableFuture<Void> write(long offset, ByteBuffer from) {
    return delegate.write(offset, from);
  }

  @Override
  public CompletableFuture<Void> zero(long offset, long length) {
    return delegate.zero(offset, length);
  }

  @Override
  public CompletableFuture<Void> trim(long offset, long length) {
    return delegate.trim(offset, length);
  }

  @Override
  public CompletableFuture<Void> flush() {
    return delegate.flush();
  }

  @Override
  public CompletableFuture<List<Extent>> extents(long offset, long length) {
    return delegate.extents(offset, length);
  }

  @Override
  public LinkTimes linkTimes() {
    return delegate.linkTimes();
  }

  @Override
  public void close() {
    delegate.close();
  }

  @Override
  public String toString() {
    return getClass().getSimpleName() + "[" + delegate + "]";
  }
}
