package io.xenferry.nbd;

import static io.xenferry.nbd.NbdProtocol.*;

import io.xenferry.block.BlockException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;

/** A request of the client's from its call to its last reply. Touched by the reading thread. */
abstract sealed class ClientRequest {
  final int command;
  final long offset;
  final long length;
  final CompletableFuture<Void> future = new CompletableFuture<>();
  volatile long deadline;
  Optional<BlockException> error = Optional.empty();

  private ClientRequest(int command, long offset, long length) {
    this.command = command;
    this.offset = offset;
    this.length = length;
  }

  /** What follows the request's header. */
  Optional<ByteBuffer> payload() {
    return Optional.empty();
  }

  /** Whether everything that a success must bring has come. */
  boolean isComplete() {
    return true;
  }

  /** Fits all commands that are answered with success or failure alone. */
  static final class Plain extends ClientRequest {
    private final Optional<ByteBuffer> payload;

    Plain(int command, long offset, long length, Optional<ByteBuffer> payload) {
      super(command, offset, length);
      this.payload = payload;
    }

    @Override
    Optional<ByteBuffer> payload() {
      return payload;
    }
  }

  static final class Read extends ClientRequest {
    private final ByteBuffer into;
    private final int start;
    private long received;

    Read(long offset, int length, ByteBuffer into) {
      super(CMD_READ, offset, length);
      this.into = into;
      this.start = into.position();
    }

    /** The place for a chunk of data. */
    ByteBuffer place(long at, long bytes) throws BlockException {
      if (at < offset || bytes <= 0 || bytes > length || at - offset > length - bytes) {
        throw NbdChannel.protocol("data outside the range that was read");
      }
      received += bytes;
      return into.slice(start + (int) (at - offset), (int) bytes);
    }

    @Override
    boolean isComplete() {
      return received == length;
    }
  }

  static final class Status extends ClientRequest {
    final int context;
    private final List<StatusExtent> extents = new ArrayList<>();

    Status(long offset, long length, int context) {
      super(CMD_BLOCK_STATUS, offset, length);
      this.context = context;
    }

    /** Adds the next extent; servers may go beyond what was asked. */
    void add(long bytes, int flags) throws BlockException {
      if (bytes == 0) {
        throw NbdChannel.protocol("an empty extent");
      }
      long at = extents.isEmpty() ? offset : extents.getLast().end();
      long n = Math.min(bytes, offset + length - at);
      if (n <= 0) {
        return;
      }
      if (!extents.isEmpty() && extents.getLast().flags() == flags) {
        StatusExtent last = extents.removeLast();
        extents.add(new StatusExtent(last.offset(), last.length() + n, flags));
      } else {
        extents.add(new StatusExtent(at, n, flags));
      }
    }

    List<StatusExtent> extents() {
      return List.copyOf(extents);
    }

    @Override
    boolean isComplete() {
      return !extents.isEmpty();
    }
  }
}
