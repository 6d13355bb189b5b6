package io.xenferry.block;

import java.nio.ByteBuffer;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/**
 * A block device with many requests in flight.
 *
 * <p>Requests that overlap in time may take effect in any order. A request that completed normally
 * is visible to every read issued afterwards; it is durable only after a {@link #flush} that was
 * issued after its completion and completed normally. Failures complete the future with a {@link
 * BlockException}; no method throws it.
 *
 * <p>No implementation retries, reconnects or replays a write by itself. After a failure of a kind
 * that {@link BlockException.Kind} calls dead, every later request fails the same way, and a new
 * backend must be opened; whether earlier unflushed writes survived is then unknown.
 *
 * <p>Thread-safe. Futures complete on a thread of the backend's; callbacks must not block. A buffer
 * belongs to the backend from the call to the completion of its future; its remaining bytes, from
 * position to limit, are the data, and its position afterwards is unspecified. Direct buffers avoid
 * a copy.
 */
public interface BlockBackend extends AutoCloseable {

  /** A name for logs and errors: a path, a URL without secrets. */
  String name();

  /** Bytes; does not change while open. */
  long size();

  /** Offsets and lengths of requests are multiples of this power of two; 1 where bytes do. */
  int alignment();

  /** The largest read or write in bytes; a multiple of {@link #alignment}. */
  int maxTransfer();

  boolean readOnly();

  /** Fills the buffer from the device. */
  CompletableFuture<Void> read(long offset, ByteBuffer into);

  /**
   * Fills the buffer at once from what is in memory. A hint: does nothing where that would wait for
   * the device, or where it cannot be told; {@link #read} has every error.
   *
   * @return whether the buffer was filled; what it holds is unspecified if not
   */
  default boolean readCached(long offset, ByteBuffer into) {
    return false;
  }

  /** Writes the buffer to the device. */
  CompletableFuture<Void> write(long offset, ByteBuffer from);

  /** Makes the range read as zeroes; deallocates it where the device can. Any length. */
  CompletableFuture<Void> zero(long offset, long length);

  /** Gives the range back; its content is undefined afterwards. A hint: may do nothing. */
  CompletableFuture<Void> trim(long offset, long length);

  /** Completes when everything that completed before the call is on stable storage. */
  CompletableFuture<Void> flush();

  /**
   * Where data may be, in order and without gaps from {@code offset}. May stop before {@code offset
   * + length}, but covers at least one byte (one {@link #alignment}); the caller asks again from
   * the end of the last extent. A backend that cannot tell answers one non-zero extent.
   */
  CompletableFuture<List<Extent>> extents(long offset, long length);

  /** What its writes have waited for on their way, where it is remote and somebody has looked. */
  default LinkTimes linkTimes() {
    return LinkTimes.NONE;
  }

  /**
   * Ends all use: requests in flight fail with CLOSED or complete; when this returns no request
   * issued through this backend can still change the device, as far as the protocol can ensure it.
   */
  @Override
  void close();
}
