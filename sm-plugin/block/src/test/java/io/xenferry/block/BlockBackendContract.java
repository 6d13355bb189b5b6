package io.xenferry.block;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;

import io.xenferry.block.BlockException.Kind;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.assertj.core.api.AbstractThrowableAssert;
import org.assertj.core.api.Assertions;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** What every block backend must do. Each implementation runs it. */
public abstract class BlockBackendContract {
  protected static final int MIB = 1 << 20;
  private static final long PATIENCE_SECONDS = 30;

  private final List<BlockBackend> opened = new ArrayList<>();

  /** A writable device of zeroes; closed by the test. */
  protected abstract BlockBackend open(long size) throws Exception;

  /** The same, opened so that it cannot be written. */
  protected abstract BlockBackend openReadOnly(long size) throws Exception;

  /** A size of several tebibytes that the implementation can make. */
  protected long hugeSize() {
    return 4L << 40;
  }

  /** Whether extents tell holes from data. */
  protected boolean seesHoles() {
    return true;
  }

  @AfterEach
  void closeAll() {
    opened.forEach(BlockBackend::close);
  }

  private BlockBackend device(long size) throws Exception {
    BlockBackend device = open(size);
    opened.add(device);
    return device;
  }

  protected static <T> T await(CompletableFuture<T> future) throws Exception {
    return future.get(PATIENCE_SECONDS, TimeUnit.SECONDS);
  }

  protected static AbstractThrowableAssert<?, ? extends Throwable> assertFails(
      CompletableFuture<?> future) {
    try {
      future.get(PATIENCE_SECONDS, TimeUnit.SECONDS);
    } catch (Exception e) {
      return Assertions.assertThat(e.getCause() == null ? e : BlockRequests.unwrap(e));
    }
    throw new AssertionError("the request succeeded");
  }

  protected static void assertFails(CompletableFuture<?> future, Kind kind) {
    assertFails(future)
        .isInstanceOfSatisfying(BlockException.class, e -> assertThat(e.kind()).isEqualTo(kind));
  }

  protected static ByteBuffer bytes(byte[] content, boolean direct) {
    ByteBuffer buffer =
        direct ? ByteBuffer.allocateDirect(content.length) : ByteBuffer.allocate(content.length);
    return buffer.put(content).flip();
  }

  protected static byte[] read(BlockBackend device, long offset, int length) throws Exception {
    ByteBuffer buffer = ByteBuffer.allocateDirect(length);
    await(device.read(offset, buffer));
    byte[] content = new byte[length];
    buffer.clear().get(content);
    return content;
  }

  private static byte[] noise(Random random, int length) {
    byte[] content = new byte[length];
    random.nextBytes(content);
    return content;
  }

  @Test
  void describesItself() throws Exception {
    BlockBackend device = device(8 * MIB);

    assertThat(device.size()).isEqualTo(8 * MIB);
    assertThat(Integer.bitCount(device.alignment())).isEqualTo(1);
    assertThat(device.maxTransfer()).isGreaterThanOrEqualTo(device.alignment());
    assertThat(device.maxTransfer() % device.alignment()).isZero();
    assertThat(device.readOnly()).isFalse();
    assertThat(device.name()).isNotBlank();
  }

  @Test
  void startsAsZeroes() throws Exception {
    assertThat(read(device(MIB), 0, MIB)).containsOnly(0);
  }

  @Test
  void whatIsReadAtOnceIsWhatWasWritten() throws Exception {
    BlockBackend device = device(MIB);
    byte[] written = noise(new Random(7), 8 << 10);
    await(device.write(64 << 10, bytes(written, true)));
    ByteBuffer at = ByteBuffer.allocateDirect(written.length);

    if (device.readCached(64 << 10, at)) {
      assertThat(at).isEqualTo(ByteBuffer.wrap(written));
    }
    assertThat(device.readCached(MIB - 4096, at)).as("past the end").isFalse();
    device.close();
    assertThat(device.readCached(64 << 10, at.clear())).as("of what is closed").isFalse();
  }

  @Test
  void agreesWithModelWithManyRequestsInFlight() throws Exception {
    int size = 8 * MIB;
    long seed = 20260101;
    Random random = new Random(seed);
    BlockBackend device = device(size);
    int unit = Math.max(512, device.alignment());
    byte[] model = new byte[size];
    // Each round issues requests to disjoint slots at once, so that the outcome is determined.
    int slots = 32;
    int slot = size / slots;
    for (int round = 0; round < 12; round++) {
      List<CompletableFuture<?>> requests = new ArrayList<>();
      for (int s = 0; s < slots; s++) {
        int offset = s * slot + random.nextInt(slot / unit / 2) * unit;
        int length =
            Math.min(device.maxTransfer(), (1 + random.nextInt(slot / unit / 2 - 1)) * unit);
        switch (random.nextInt(4)) {
          case 0 -> {
            requests.add(device.zero(offset, length));
            Arrays.fill(model, offset, offset + length, (byte) 0);
          }
          case 1 -> {
            ByteBuffer into = ByteBuffer.allocateDirect(length);
            byte[] expected = Arrays.copyOfRange(model, offset, offset + length);
            requests.add(
                device
                    .read(offset, into)
                    .thenRun(() ->
                        assertThat(into.clear())
                            .as("seed %d", seed)
                            .isEqualTo(ByteBuffer.wrap(expected))));
          }
          default -> {
            byte[] content = noise(random, length);
            requests.add(device.write(offset, bytes(content, s % 2 == 0)));
            System.arraycopy(content, 0, model, offset, length);
          }
        }
      }
      if (round % 4 == 3) {
        requests.add(device.flush());
      }
      for (CompletableFuture<?> request : requests) {
        await(request);
      }
    }
    for (int at = 0; at < size; at += MIB) {
      assertThat(read(device, at, MIB))
          .as("seed %d, MiB at %d", seed, at)
          .isEqualTo(Arrays.copyOfRange(model, at, at + MIB));
    }
  }

  @Test
  void usesOnlyTheRemainingBytesOfBuffers() throws Exception {
    BlockBackend device = device(MIB);
    ByteBuffer from = bytes(noise(new Random(1), 8192), true);
    byte[] middle = new byte[4096];
    from.get(2048, middle);

    await(device.write(4096, from.duplicate().position(2048).limit(6144)));

    assertThat(read(device, 4096, 4096)).isEqualTo(middle);
    assertThat(read(device, 8192, 4096)).containsOnly(0);
    ByteBuffer into = ByteBuffer.allocateDirect(8192);
    await(device.read(4096, into.duplicate().position(1024).limit(5120)));
    byte[] got = new byte[4096];
    into.get(1024, got);
    assertThat(got).isEqualTo(middle);
    assertThat(into.get(1023)).isZero();
    assertThat(into.get(5120)).isZero();
  }

  @Test
  void refusesWhatIsOutsideTheDevice() throws Exception {
    BlockBackend device = device(MIB);
    int unit = Math.max(512, device.alignment());

    assertFails(device.read(MIB, ByteBuffer.allocate(unit)), Kind.OUT_OF_RANGE);
    assertFails(device.read(MIB - unit, ByteBuffer.allocate(2 * unit)), Kind.OUT_OF_RANGE);
    assertFails(device.read(-unit, ByteBuffer.allocate(unit)), Kind.OUT_OF_RANGE);
    assertFails(device.write(MIB - unit, ByteBuffer.allocate(2 * unit)), Kind.OUT_OF_RANGE);
    assertFails(
        device.write(Long.MAX_VALUE - unit + 1, ByteBuffer.allocate(unit)), Kind.OUT_OF_RANGE);
    assertFails(device.zero(unit, MIB), Kind.OUT_OF_RANGE);
    assertFails(device.zero(0, -unit), Kind.OUT_OF_RANGE);
    assertFails(device.trim(MIB, Long.MAX_VALUE - unit + 1), Kind.OUT_OF_RANGE);
    assertFails(device.extents(0, MIB + unit), Kind.OUT_OF_RANGE);
    // The device still works.
    assertThat(read(device, 0, unit)).containsOnly(0);
  }

  @Test
  void refusesUnalignedRequestsIfItHasAnAlignment() throws Exception {
    BlockBackend device = device(MIB);
    if (device.alignment() == 1) {
      await(device.write(1, bytes(new byte[] {7}, false)));
      assertThat(read(device, 0, 3)).containsExactly(0, 7, 0);
      return;
    }
    assertFails(device.read(1, ByteBuffer.allocate(device.alignment())), Kind.OUT_OF_RANGE);
    assertFails(device.write(0, ByteBuffer.allocate(1)), Kind.OUT_OF_RANGE);
    assertFails(device.zero(0, 1), Kind.OUT_OF_RANGE);
  }

  @Test
  void refusesTransfersBeyondItsLimit() throws Exception {
    BlockBackend device = device(64L * MIB);
    if (device.maxTransfer() < 64 * MIB) {
      ByteBuffer tooMuch = ByteBuffer.allocate(device.maxTransfer() + device.alignment());
      assertFails(device.write(0, tooMuch), Kind.OUT_OF_RANGE);
      assertFails(device.read(0, tooMuch), Kind.OUT_OF_RANGE);
    }
  }

  @Test
  void transfersAsMuchAsItSays() throws Exception {
    BlockBackend device = device(64L * MIB);
    int length = Math.min(device.maxTransfer(), 64 * MIB);
    byte[] content = noise(new Random(5), length);

    await(device.write(0, bytes(content, true)));

    assertThat(Arrays.equals(read(device, 0, length), content)).isTrue();
  }

  @Test
  void emptyRequestsSucceed() throws Exception {
    BlockBackend device = device(MIB);

    await(device.read(0, ByteBuffer.allocate(0)));
    await(device.write(MIB, ByteBuffer.allocate(0)));
    await(device.zero(0, 0));
    await(device.trim(MIB, 0));
    await(device.flush());
  }

  @Test
  void zeroedRangesReadAsZeroesToTheByte() throws Exception {
    BlockBackend device = device(4 * MIB);
    int unit = Math.max(512, device.alignment());
    byte[] ones = new byte[2 * MIB];
    Arrays.fill(ones, (byte) 1);
    for (int at = 0; at < ones.length; at += MIB) {
      await(device.write(at, ByteBuffer.wrap(ones, 0, MIB)));
    }

    await(device.zero(unit, MIB));

    assertThat(read(device, 0, unit)).containsOnly(1);
    assertThat(read(device, unit, MIB)).containsOnly(0);
    assertThat(read(device, unit + MIB, unit)).containsOnly(1);
  }

  @Test
  void trimLeavesTheRestAlone() throws Exception {
    BlockBackend device = device(4 * MIB);
    byte[] ones = new byte[MIB];
    Arrays.fill(ones, (byte) 1);
    for (int at = 0; at < 3 * MIB; at += MIB) {
      await(device.write(at, ByteBuffer.wrap(ones)));
    }

    await(device.trim(MIB, MIB));

    assertThat(read(device, 0, MIB)).containsOnly(1);
    assertThat(read(device, 2 * MIB, MIB)).containsOnly(1);
    read(device, MIB, MIB);
  }

  @Test
  void extentsCoverTheDeviceWithoutGapsAndHoldAllData() throws Exception {
    long size = 64L * MIB;
    BlockBackend device = device(size);
    Random random = new Random(3);
    long[] places = {0, 5L * MIB, 20L * MIB + 65536, size - MIB};
    for (long at : places) {
      await(device.write(at, bytes(noise(random, 65536), true)));
    }

    List<Extent> extents = allExtents(device, 0, size);

    for (long at : places) {
      assertThat(extents)
          .as("data at %d", at)
          .noneMatch(e -> e.zero() && e.offset() < at + 65536 && at < e.end());
    }
    if (seesHoles()) {
      assertThat(extents).anyMatch(e -> e.zero() && e.offset() <= 40L * MIB && e.end() > 41L * MIB);
    }
    for (Extent e : extents) {
      if (e.zero()) {
        int n = (int) Math.min(e.length(), MIB);
        assertThat(ZeroScan.isZero(ByteBuffer.wrap(read(device, e.offset(), n)))).isTrue();
      }
    }
  }

  /** Asks until the range is covered, and checks each answer. */
  protected static List<Extent> allExtents(BlockBackend device, long offset, long length)
      throws Exception {
    List<Extent> all = new ArrayList<>();
    long at = offset;
    while (at < offset + length) {
      List<Extent> some = await(device.extents(at, offset + length - at));
      assertThat(some).isNotEmpty();
      for (Extent e : some) {
        assertThat(e.offset()).isEqualTo(at);
        at = e.end();
      }
      all.addAll(some);
    }
    assertThat(at).isEqualTo(offset + length);
    return all;
  }

  @Test
  void servesTebibytes() throws Exception {
    long size = hugeSize();
    BlockBackend device = device(size);
    byte[] content = noise(new Random(9), 65536);

    await(device.write(size - 65536, bytes(content, true)));
    await(device.write(size / 2, bytes(content, true)));
    await(device.flush());

    assertThat(read(device, size - 65536, 65536)).isEqualTo(content);
    assertThat(read(device, size / 2, 65536)).isEqualTo(content);
    assertThat(read(device, size / 2 - 65536, 65536)).containsOnly(0);
    if (seesHoles()) {
      assertThat(allExtents(device, 0, size))
          .filteredOn(e -> !e.zero())
          .allSatisfy(e -> assertThat(e.length()).isLessThan(64L * MIB));
      await(device.zero(0, size));
      assertThat(read(device, size / 2, 65536)).containsOnly(0);
    }
  }

  @Test
  void readOnlyDeviceRefusesChanges() throws Exception {
    BlockBackend device = openReadOnly(MIB);
    opened.add(device);
    int unit = Math.max(512, device.alignment());

    assertThat(device.readOnly()).isTrue();
    assertThat(read(device, 0, unit)).containsOnly(0);
    assertFails(device.write(0, ByteBuffer.allocate(unit)), Kind.READ_ONLY);
    assertFails(device.zero(0, unit), Kind.READ_ONLY);
    assertFails(device.trim(0, unit), Kind.READ_ONLY);
    await(device.flush());
    assertThat(allExtents(device, 0, MIB)).isNotEmpty();
  }

  @Test
  void closingEndsEveryRequestInFlight() throws Exception {
    BlockBackend device = device(64L * MIB);
    List<CompletableFuture<Void>> requests = new ArrayList<>();
    for (int i = 0; i < 48; i++) {
      requests.add(device.write((long) i * MIB, ByteBuffer.allocateDirect(512 << 10)));
    }

    device.close();

    for (CompletableFuture<Void> request : requests) {
      try {
        await(request);
      } catch (Exception e) {
        assertThat(BlockRequests.unwrap(e).kind()).isEqualTo(Kind.CLOSED);
      }
    }
    assertFails(device.read(0, ByteBuffer.allocate(4096)), Kind.CLOSED);
    assertFails(device.flush(), Kind.CLOSED);
    assertThatCode(device::close).doesNotThrowAnyException();
  }
}
