package io.xenferry.guest;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.xenferry.block.BlockException;
import io.xenferry.block.ForwardingBackend;
import io.xenferry.block.MemoryBackend;
import io.xenferry.copy.SourceDisk;
import io.xenferry.guest.linux.HeartbeatObserver;
import io.xenferry.guest.linux.LinuxGuest;
import io.xenferry.qemu.GuestDirectory;
import io.xenferry.qemu.GuestLauncher;
import io.xenferry.spi.Guest;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.Usage;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** Linux in QEMU, writing to two disks; what it acknowledged is checked from outside. */
class LinuxGuestTest {
  private static final long SIZE = 32 << 20;
  private static final Duration DEADLINE = Duration.ofSeconds(20);
  private static final Duration BOOT = Duration.ofSeconds(120);

  private final UUID vm = UUID.randomUUID();
  private Guests guests;
  private Path first;
  private Path second;

  @BeforeEach
  void open() throws Exception {
    Optional<String> missing = LinuxGuest.missing();
    if ("true".equals(System.getenv("XENFERRY_REQUIRE_TOOLS"))) {
      assertThat(missing).as("what the Linux guest needs").isEmpty();
    }
    assumeTrue(missing.isEmpty(), () -> "the Linux guest needs " + missing.orElseThrow());
    guests = new Guests(QemuHypervisorTest.installed());
    first = guests.disk("first", SIZE);
    second = guests.disk("second", SIZE);
  }

  @AfterEach
  void close() throws Exception {
    if (guests != null) {
      guests.close();
    }
  }

  private GuestSpec spec() throws Exception {
    return spec("");
  }

  /**
   * @param more arguments of the kernel and of its writer
   */
  private GuestSpec spec(String more) throws Exception {
    LinuxGuest linux = LinuxGuest.prepare();
    Map<String, String> platform = Map.of("xenferry:accel", "tcg", "xenferry:serial-ports", "2");
    return new GuestSpec(
        vm,
        "linux",
        GuestSpec.Machine.of(platform),
        new GuestSpec.Memory(128 << 20, 128 << 20),
        new GuestSpec.Vcpus(1, 2, 1),
        new GuestSpec.Boot.Kernel(
            linux.kernel(), Optional.of(linux.ramdisk()), LinuxGuest.ARGUMENTS + more),
        List.of(
            new GuestSpec.Disk("xvda", UUID.randomUUID(), first, "raw", false),
            new GuestSpec.Disk("xvdd", UUID.randomUUID(), second, "raw", false)),
        List.of(new GuestSpec.CdDrive("xvdc", Optional.empty())),
        List.of(
            new GuestSpec.Nic("0", "02:00:00:00:00:01", "xenbr0", new GuestSpec.Backend.User())),
        platform);
  }

  private HeartbeatObserver observer(Guest guest) throws Exception {
    HeartbeatObserver observer = new HeartbeatObserver(vm, guests.ledger());
    Path directory = guests.directory.resolve("s").resolve(guest.vm().toString());
    observer.listen(new GuestDirectory(directory, directory).serialSocket(1));
    return observer;
  }

  private static void awaitRecords(HeartbeatObserver observer, long more) {
    long before = observer.acknowledged(0);
    long beforeSecond = observer.acknowledged(1);
    await()
        .atMost(BOOT)
        .until(() ->
            observer.acknowledged(0) > before + more
                && observer.acknowledged(1) > beforeSecond + more);
  }

  @Test
  void writesWhatItSaysItWrote() throws Exception {
    Guest guest = guests.host("s").start(spec(), false);
    try (HeartbeatObserver observer = observer(guest)) {
      assertThat(guest.usage(DEADLINE).free()).as("before there is a driver").isEmpty();
      awaitRecords(observer, 100);
      await().atMost(BOOT).until(() -> guest.usage(DEADLINE).free().isPresent());
      Usage usage = guest.usage(DEADLINE);
      assertThat(usage.free().getAsLong()).isBetween(1L << 20, 128L << 20);
      assertThat(usage.processors()).hasSize(1).allMatch(nanos -> nanos > 0);
      assertThat(usage.process().getAsLong()).isGreaterThanOrEqualTo(usage.processors().getFirst());
      assertThat(usage.disks().get("xvdd").bytesWritten()).isGreaterThan(100 * 4096);
      assertThat(usage.disks().get("xvdd").writeNanos()).isPositive();
      assertThat(usage.disks()).as("a drive without a medium").doesNotContainKey("xvdc");
      assertThat(usage.nics()).as("nobody counts in user mode").isEmpty();
      guest.pause();
      observer.sync();
      Verdict verdict = Verifier.verify(guests.ledger(), List.of(first, second));
      assertThat(verdict.examples()).isEmpty();
      assertThat(verdict.good()).isTrue();
      assertThat(verdict.acknowledged()).isGreaterThan(200);
      assertThat(observer.anomalies()).isEmpty();
      assertThat(observer.errors()).isZero();

      try (RandomAccessFile disk = new RandomAccessFile(second.toFile(), "rw")) {
        byte[] record = new byte[4096];
        long at = -4096;
        do {
          at += 4096;
          disk.seek(at);
          disk.readFully(record);
        } while (record[0] == 0);
        disk.seek(at + 100);
        disk.write(record[100] ^ 1);
      }
      assertThat(Verifier.verify(guests.ledger(), List.of(first, second)).corruptBlocks())
          .as("a changed byte is seen")
          .isEqualTo(1);
    }
  }

  /**
   * Each with some of the guest's writes under way. QEMU 7.2 goes on with memory that it has freed
   * where such a job fails, or is cancelled by force; whoever touches that memory here is noticed
   * sooner than elsewhere.
   */
  @Test
  @Tag("slow")
  void mirrorsThatDieBeneathItsWritesDoItNoHarm() throws Exception {
    guests.close();
    GuestLauncher qemu = QemuHypervisorTest.installed();
    guests =
        new Guests(
            new GuestLauncher() {
              @Override
              public String name() {
                return qemu.name();
              }

              @Override
              public List<String> command(GuestSpec spec, GuestDirectory directory, Mode mode)
                  throws HypervisorException, InterruptedException {
                List<String> command = new ArrayList<>();
                command.add("env");
                command.add("GLIBC_TUNABLES=glibc.malloc.perturb=165:glibc.malloc.tcache_count=0");
                command.addAll(qemu.command(spec, directory, mode));
                return command;
              }
            });
    first = guests.disk("first", SIZE);
    second = guests.disk("second", SIZE);
    Guest guest = guests.host("s").start(spec(" xenferry.rate=" + (8 << 20)), false);
    try (HeartbeatObserver observer = observer(guest)) {
      awaitRecords(observer, 20);
      for (int round = 0; round < 100; round++) {
        MortalSink sink = new MortalSink(SIZE);
        try (SourceDisk source = guest.source(round % 2 == 0 ? "xvda" : "xvdd")) {
          SourceDisk.Mirror mirror =
              source.mirror(sink, Duration.ofSeconds(10)).get(60, TimeUnit.SECONDS);
          await().pollDelay(Duration.ZERO).until(() -> sink.writes.get() > 3);
          MortalSink.Death death =
              MortalSink.Death.values()[round % MortalSink.Death.values().length];
          sink.death = death;
          if (death == MortalSink.Death.HANGS) {
            await().until(() -> sink.dying.get() > 0);
          }
          if (death != MortalSink.Death.FAILS) {
            mirror.abort("it is not wanted any more");
          }
          assertThat(mirror.ended()).failsWithin(Duration.ofSeconds(60));
        }
        assertThat(guest.state()).as("after mirror " + round).isEqualTo(Guest.State.RUNNING);
      }
      awaitRecords(observer, 20);
      guest.pause();
      observer.sync();
      assertThat(Verifier.verify(guests.ledger(), List.of(first, second)).good()).isTrue();
      assertThat(observer.errors()).isZero();
      assertThat(observer.anomalies()).isEmpty();
    }
  }

  /** Takes writes, and some time no longer. */
  private static final class MortalSink extends ForwardingBackend {
    enum Death {
      SUDDEN,
      FAILS,
      HANGS
    }

    final AtomicLong writes = new AtomicLong();
    final AtomicLong dying = new AtomicLong();
    volatile @Nullable Death death;

    MortalSink(long size) {
      super(new MemoryBackend("sink", size));
    }

    @Override
    public CompletableFuture<Void> write(long offset, ByteBuffer from) {
      writes.incrementAndGet();
      if (death == null) {
        return super.write(offset, from);
      }
      dying.incrementAndGet();
      return death == Death.HANGS
          ? new CompletableFuture<>()
          : CompletableFuture.failedFuture(
              new BlockException(BlockException.Kind.IO, "told to fail"));
    }
  }

  @Test
  void goesOnBehindItsRecordsAfterAResetAndObeysThePowerButton() throws Exception {
    Guest guest = guests.host("s").start(spec(), false);
    try (HeartbeatObserver observer = observer(guest)) {
      awaitRecords(observer, 20);
      guest.restart();
      awaitRecords(observer, 1000); // it jumps ahead of what may have been in flight
      guest.shutdown();
      Guests.awaitState(guest, Guest.State.SHUTDOWN);
      observer.sync();
      Verdict verdict = Verifier.verify(guests.ledger(), List.of(first, second));
      assertThat(verdict.examples()).isEmpty();
      assertThat(observer.anomalies()).isEmpty();
    }
  }
}
