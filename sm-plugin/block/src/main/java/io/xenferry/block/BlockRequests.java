package io.xenferry.block;

import io.xenferry.block.BlockException.Kind;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** What every backend does alike with requests: checks of their arguments, and their failures. */
public final class BlockRequests {
  private BlockRequests() {}

  /** Checks a read or write of {@code length} bytes; empty means that it may go ahead. */
  public static Optional<BlockException> checkTransfer(
      BlockBackend backend, long offset, long length, boolean write) {
    if (length > backend.maxTransfer()) {
      return refuse(
          Kind.OUT_OF_RANGE,
          backend,
          "transfer of " + length + " bytes exceeds " + backend.maxTransfer());
    }
    return checkRange(backend, offset, length, write);
  }

  /** Checks a zero, trim or extents request of any length; empty means that it may go ahead. */
  public static Optional<BlockException> checkRange(
      BlockBackend backend, long offset, long length, boolean write) {
    if (offset < 0 || length < 0 || offset > backend.size() || length > backend.size() - offset) {
      return refuse(
          Kind.OUT_OF_RANGE,
          backend,
          offset + "+" + length + " is outside the " + backend.size() + " bytes of the device");
    }
    if (((offset | length) & (backend.alignment() - 1L)) != 0) {
      return refuse(
          Kind.OUT_OF_RANGE,
          backend,
          offset + "+" + length + " is not a multiple of " + backend.alignment());
    }
    if (write && backend.readOnly()) {
      return refuse(Kind.READ_ONLY, backend, "opened read-only");
    }
    return Optional.empty();
  }

  public static <T> CompletableFuture<T> failed(Kind kind, String message) {
    return CompletableFuture.failedFuture(new BlockException(kind, message));
  }

  /** The failure of a request as the block exception that it is, or wrapped in one of kind IO. */
  public static BlockException unwrap(Throwable failure) {
    Throwable cause = failure;
    while ((cause instanceof CompletionException || cause instanceof ExecutionException)
        && cause.getCause() != null) {
      cause = cause.getCause();
    }
    if (cause instanceof BlockException block) {
      return block;
    }
    return new BlockException(Kind.IO, String.valueOf(cause.getMessage()), cause);
  }

  /**
   * Waits for a request, for callers that have a thread to spare.
   *
   * @throws BlockException as the request failed; TIMEOUT when it did not end in time (it goes on)
   */
  public static <T> T await(CompletableFuture<T> request, long timeoutMillis)
      throws BlockException, InterruptedException {
    try {
      return request.get(timeoutMillis, TimeUnit.MILLISECONDS);
    } catch (ExecutionException e) {
      throw unwrap(e);
    } catch (TimeoutException e) {
      throw new BlockException(Kind.TIMEOUT, "no answer within " + timeoutMillis + " ms", e);
    }
  }

  private static Optional<BlockException> refuse(Kind kind, BlockBackend backend, String why) {
    return Optional.of(new BlockException(kind, backend.name() + ": " + why));
  }
}
