package io.xenferry.copy;

import io.xenferry.block.BlockException;
import java.util.concurrent.CompletionException;
import org.jspecify.annotations.Nullable;

/** Why a copy ended without success; the guest at the source is not affected by any of them. */
public final class CopyException extends Exception {
  private static final long serialVersionUID = 1L;

  /** What an administrator would do something different about. */
  public enum Kind {
    /** The source disk cannot be read. */
    SOURCE_READ,
    /** The source's flush failed, or its passes. */
    SOURCE,
    /** The destination did not come back within the resume window. */
    DESTINATION_LOST,
    /** The destination is smaller than the source, or its blocks are too large. */
    DESTINATION_UNFIT,
    /** No space left at the destination. */
    DESTINATION_FULL,
    /** The destination refuses the login, or is read-only. */
    DESTINATION_REFUSED,
    /** The destination's medium fails again and again. */
    DESTINATION_IO,
    /** The dirty log cannot be written: without it nothing may be sent. */
    LOG,
    /** The destination has not what it should have. */
    VERIFY,
    /** The books do not agree at the end: something wrote after the guest was frozen. */
    BOOKS,
    /** Cancelled by the owner. */
    CANCELLED,
    /** The switch was abandoned by the owner; the copy goes on. */
    ABANDONED
  }

  private final Kind kind;

  public CopyException(Kind kind, String message) {
    super(message);
    this.kind = kind;
  }

  public CopyException(Kind kind, String message, Throwable cause) {
    super(message, cause);
    this.kind = kind;
  }

  public Kind kind() {
    return kind;
  }

  /** The failure of a block request, whatever it came wrapped in. */
  static BlockException blockFailure(Throwable failure) {
    Throwable cause = cause(failure);
    return cause instanceof BlockException known
        ? known
        : new BlockException(BlockException.Kind.IO, String.valueOf(cause), failure);
  }

  /** What a future has failed with, whatever it came wrapped in. */
  static Throwable cause(@Nullable Throwable failure) {
    Throwable cause = failure == null ? new IllegalStateException("no reason") : failure;
    while (cause instanceof CompletionException && cause.getCause() != null) {
      cause = cause.getCause();
    }
    return cause;
  }

  static @Nullable BlockException blockFailureOrNull(@Nullable Throwable failure) {
    return failure == null ? null : blockFailure(failure);
  }

  /** Whether the backend is of no use any more and must be replaced by one opened anew. */
  static boolean isDead(BlockException.Kind kind) {
    return switch (kind) {
      case TIMEOUT, LOST, RESET, CLOSED, PROTOCOL, ACCESS -> true;
      case IO, NO_SPACE, OUT_OF_RANGE, READ_ONLY, BUSY -> false;
    };
  }
}
