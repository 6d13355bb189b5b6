package io.xenferry.server.storage;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.block.BlockRequests;
import io.xenferry.sr.Progress;
import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.concurrent.CompletableFuture;

/** What a disk's content comes to. */
final class DiskDigest {
  private static final int STEP = 1 << 20;
  private static final long PATIENCE_MILLIS = 120_000;

  private DiskDigest() {}

  /**
   * Of all of a disk, in hexadecimal digits; while one piece is counted in the next one is read.
   *
   * @param progress ends the reading when it is cancelled: what is answered then is of a part
   */
  static String md5(BlockBackend disk, Progress progress)
      throws BlockException, InterruptedException {
    MessageDigest digest = md5();
    int step = Math.min(STEP, disk.maxTransfer());
    ByteBuffer reading = ByteBuffer.allocateDirect(step);
    ByteBuffer counted = ByteBuffer.allocateDirect(step);
    CompletableFuture<Void> next = read(disk, 0, reading);
    try {
      for (long at = 0; at < disk.size() && !progress.isCancelled(); at += step) {
        BlockRequests.await(next, PATIENCE_MILLIS);
        ByteBuffer read = reading;
        reading = counted;
        counted = read;
        next = read(disk, at + step, reading);
        digest.update(counted.duplicate());
        progress.report((double) at / disk.size());
      }
    } finally {
      // The buffers are direct memory of a request in flight.
      next.handle((done, failure) -> done).join();
    }
    return HexFormat.of().formatHex(digest.digest());
  }

  private static CompletableFuture<Void> read(BlockBackend disk, long at, ByteBuffer into) {
    into.clear();
    if (at >= disk.size()) {
      return CompletableFuture.completedFuture(null);
    }
    into.limit((int) Math.min(into.capacity(), disk.size() - at));
    return disk.read(at, into.duplicate());
  }

  private static MessageDigest md5() {
    try {
      return MessageDigest.getInstance("MD5");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java platform has MD5", e);
    }
  }
}
