package io.xenferry.iscsi.initiator;

import io.xenferry.block.BlockException;
import io.xenferry.block.BlockException.Kind;
import java.io.InterruptedIOException;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** Waiting for the loop's answer, always with a deadline. */
final class Waiting {
  private Waiting() {}

  static <T> T await(CompletableFuture<T> future, Duration limit, String name)
      throws BlockException {
    try {
      return future.get(limit.toNanos(), TimeUnit.NANOSECONDS);
    } catch (TimeoutException e) {
      throw new BlockException(Kind.TIMEOUT, name + ": no answer", e);
    } catch (ExecutionException e) {
      if (e.getCause() instanceof BlockException block) {
        throw block;
      }
      throw new BlockException(Kind.IO, name + ": " + e.getCause(), e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new BlockException(Kind.TIMEOUT, name + ": interrupted", new InterruptedIOException());
    }
  }
}
