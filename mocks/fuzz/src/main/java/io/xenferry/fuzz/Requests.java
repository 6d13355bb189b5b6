package io.xenferry.fuzz;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** What is asked of a disk whose server does not keep the rules. */
final class Requests {
  /** Far beyond the deadlines that the clients are given here. */
  private static final int PATIENCE_SECONDS = 20;

  private Requests() {}

  /**
   * One request of each kind, several under way at once.
   *
   * @throws AssertionError one never ends, or with something else than a {@link BlockException}
   */
  static void everyKind(BlockBackend disk) throws InterruptedException {
    List<CompletableFuture<?>> all = new ArrayList<>();
    all.add(disk.read(4096, ByteBuffer.allocate(8192)));
    all.add(disk.write(0, ByteBuffer.wrap(new byte[16384])));
    all.add(disk.zero(65536, 65536));
    all.add(disk.trim(131072, 65536));
    all.add(disk.extents(0, disk.size()));
    all.add(disk.flush());
    for (CompletableFuture<?> request : all) {
      try {
        request.get(PATIENCE_SECONDS, TimeUnit.SECONDS);
      } catch (ExecutionException e) {
        if (!(e.getCause() instanceof BlockException)) {
          throw new AssertionError("a request failed with " + e.getCause(), e.getCause());
        }
      } catch (TimeoutException e) {
        throw new AssertionError("a request never ends", e);
      }
    }
  }

  /** Inputs for a {@link Relay}: one change each, at places all over a conversation. */
  static List<byte[]> changes(int length) {
    List<byte[]> seeds = new ArrayList<>();
    for (int at = 1; at < length; at += length / 20) {
      for (int kind = 0; kind < 4; kind++) {
        seeds.add(new byte[] {(byte) (at >> 8), (byte) at, (byte) kind, (byte) (1 << (at % 8))});
      }
    }
    return seeds;
  }
}
