package io.xenferry.guest;

import static io.xenferry.guest.Guests.awaitState;
import static java.util.concurrent.TimeUnit.SECONDS;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import io.xenferry.block.BlockException;
import io.xenferry.block.FileBackend;
import io.xenferry.block.ForwardingBackend;
import io.xenferry.block.MemoryBackend;
import io.xenferry.block.Range;
import io.xenferry.copy.BlockMap;
import io.xenferry.copy.CopyEngine;
import io.xenferry.copy.CopyJob;
import io.xenferry.copy.CopyListener;
import io.xenferry.copy.CopyOptions;
import io.xenferry.copy.CopySnapshot;
import io.xenferry.copy.Destination;
import io.xenferry.copy.DiskPlan;
import io.xenferry.copy.MemoryDirtyLog;
import io.xenferry.copy.SourceDisk;
import io.xenferry.copy.Strategy;
import io.xenferry.copy.WriteOrderingPoint;
import io.xenferry.qemu.GuestDirectory;
import io.xenferry.qemu.GuestLauncher;
import io.xenferry.qemu.QemuHypervisor;
import io.xenferry.qemu.qmp.QmpClient;
import io.xenferry.spi.Guest;
import io.xenferry.spi.Guest.State;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.HypervisorException;
import io.xenferry.time.RealScheduler;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ThreadLocalRandom;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What mirroring a guest's disk must be like; the fake is held to it as QEMU is. */
abstract class MirrorContract {
  private static final long SIZE = 8 << 20;
  private static final int CHUNK = 64 << 10;

  /** Long enough that only a test that wants it sees the watchdog. */
  private static final Duration PATIENT = Duration.ofSeconds(120);

  private final UUID vm = UUID.randomUUID();
  private final TestSink sink = new TestSink();
  private Guests guests;
  private QemuHypervisor host;
  private Guest guest;
  private QmpClient player;

  abstract GuestLauncher launcher() throws Exception;

  /** The launcher's arguments for one more monitor, through which the test plays the guest. */
  abstract List<String> monitor(Path socket);

  @BeforeEach
  void open() throws Exception {
    GuestLauncher launcher = launcher();
    guests =
        new Guests(
            new GuestLauncher() {
              @Override
              public String name() {
                return launcher.name();
              }

              @Override
              public List<String> command(GuestSpec spec, GuestDirectory directory, Mode mode)
                  throws HypervisorException, InterruptedException {
                List<String> command = new ArrayList<>(launcher.command(spec, directory, mode));
                command.addAll(monitor(directory.sockets().resolve("test.sock")));
                return command;
              }
            });
    host = guests.host("s");
    guest =
        host.start(
            guests.spec(vm, Map.of("xenferry:workload-rate", "0"), guests.disk("a", SIZE)), false);
    Path socket = guests.directory.resolve("s").resolve(vm.toString()).resolve("test.sock");
    player = QmpClient.connect(socket, Duration.ofSeconds(30), e -> {}, () -> {});
  }

  @AfterEach
  void close() throws Exception {
    player.close();
    guests.close();
  }

  /** Takes writes as told to. */
  private static final class TestSink extends ForwardingBackend {
    volatile boolean hangs;
    volatile boolean silent;
    volatile boolean fails;
    final CompletableFuture<Void> reached = new CompletableFuture<>();

    TestSink() {
      super(new MemoryBackend("sink", SIZE));
    }

    @Override
    public CompletableFuture<Void> write(long offset, ByteBuffer from) {
      reached.complete(null);
      if (fails) {
        return CompletableFuture.failedFuture(
            new BlockException(BlockException.Kind.IO, "told to fail"));
      }
      return hangs ? new CompletableFuture<>() : super.write(offset, from);
    }

    @Override
    public CompletableFuture<Void> flush() {
      return silent ? new CompletableFuture<>() : super.flush();
    }

    byte at(long offset) throws Exception {
      ByteBuffer one = ByteBuffer.allocate(1);
      read(offset, one).get(10, SECONDS);
      return one.get(0);
    }
  }

  /** Returns when the guest's disk has answered, or at once. */
  private void write(boolean wait, int offset) throws Exception {
    player.execute(
        "human-monitor-command",
        Map.of(
            "command-line",
            "qemu-io -d /machine/peripheral/xvda/virtio-backend \""
                + (wait ? "write" : "aio_write")
                + " -P 0x5a "
                + offset
                + " 4096\""),
        Duration.ofSeconds(60));
  }

  private List<Range> dirty(SourceDisk source) throws Exception {
    SourceDisk.Pass pass = source.beginPass().get(10, SECONDS);
    pass.end(true).get(10, SECONDS);
    return pass.ranges();
  }

  private static void assertThatItDied(SourceDisk.Mirror mirror) {
    assertThatThrownBy(() -> mirror.ended().get(60, SECONDS))
        .isInstanceOf(ExecutionException.class);
    assertThatThrownBy(() -> mirror.end().get(60, SECONDS)).isInstanceOf(ExecutionException.class);
  }

  @Test
  void handsOverEveryWriteUntilItEnds() throws Exception {
    try (SourceDisk source = guest.source("xvda")) {
      dirty(source);
      write(true, CHUNK);
      SourceDisk.Mirror mirror = source.mirror(sink, PATIENT).get(60, SECONDS);
      write(true, 2 * CHUNK);
      assertThat(sink.at(CHUNK)).as("written before").isZero();
      assertThat(sink.at(2 * CHUNK)).isEqualTo((byte) 0x5a);
      SourceDisk.Pass pass = source.beginPass().get(10, SECONDS);
      assertThat(pass.ranges()).containsExactly(new Range(CHUNK, 2 * CHUNK));
      write(true, 5 * CHUNK);
      assertThat(sink.at(5 * CHUNK)).as("during a pass").isEqualTo((byte) 0x5a);
      ByteBuffer content = ByteBuffer.allocate(1);
      pass.content().read(5 * CHUNK, content).get(10, SECONDS);
      assertThat(content.get(0)).as("beneath the mirror").isEqualTo((byte) 0x5a);
      guest.throttle(64 << 20);
      guest.throttle(0);
      guest.pause();
      mirror.end().get(30, SECONDS);
      mirror.ended().get(30, SECONDS);
      guest.resume();
      write(true, 7 * CHUNK);
      assertThat(sink.at(7 * CHUNK)).as("written after").isZero();
      pass.end(true).get(10, SECONDS);
      assertThat(dirty(source))
          .as("noted all the same")
          .containsExactly(new Range(5 * CHUNK, CHUNK), new Range(7 * CHUNK, CHUNK));

      SourceDisk.Mirror again = source.mirror(sink, PATIENT).get(60, SECONDS);
      write(true, 7 * CHUNK);
      assertThat(sink.at(7 * CHUNK)).isEqualTo((byte) 0x5a);
      again.abort("enough");
      assertThatItDied(again);
    }
    assertThat(guest.state()).isEqualTo(State.RUNNING);
  }

  @Test
  void aSinkThatFailsEndsTheMirrorAndTheGuestDoesNotNotice() throws Exception {
    try (SourceDisk source = guest.source("xvda")) {
      dirty(source);
      SourceDisk.Mirror mirror = source.mirror(sink, PATIENT).get(60, SECONDS);
      sink.fails = true;
      write(true, CHUNK);
      assertThatItDied(mirror);
      write(true, 3 * CHUNK);
      assertThat(dirty(source))
          .containsExactly(new Range(CHUNK, CHUNK), new Range(3 * CHUNK, CHUNK));
      sink.fails = false;
      SourceDisk.Mirror again = source.mirror(sink, PATIENT).get(60, SECONDS);
      write(true, 4 * CHUNK);
      assertThat(sink.at(4 * CHUNK)).isEqualTo((byte) 0x5a);
      guest.pause();
      again.end().get(30, SECONDS);
    }
  }

  @Test
  void oneThatIsAbortedLetsTheWriteGoThatWaitsForIt() throws Exception {
    try (SourceDisk source = guest.source("xvda")) {
      dirty(source);
      SourceDisk.Mirror mirror = source.mirror(sink, PATIENT).get(60, SECONDS);
      sink.hangs = true;
      write(false, CHUNK);
      sink.reached.get(30, SECONDS);
      mirror.abort("it takes too long");
      write(true, CHUNK);
      assertThatItDied(mirror);
      assertThat(dirty(source)).containsExactly(new Range(CHUNK, CHUNK));
    }
  }

  @Test
  void theWatchdogCutsOffARelayThatGivesNoSignOfLife() throws Exception {
    try (SourceDisk source = guest.source("xvda")) {
      dirty(source);
      SourceDisk.Mirror mirror = source.mirror(sink, Duration.ofSeconds(1)).get(60, SECONDS);
      write(true, CHUNK);
      assertThat(sink.at(CHUNK)).isEqualTo((byte) 0x5a);
      sink.hangs = true;
      sink.silent = true;
      write(true, 2 * CHUNK);
      assertThatItDied(mirror);
      assertThat(dirty(source)).containsExactly(new Range(CHUNK, 2 * CHUNK));
    }
    assertThat(guest.state()).isEqualTo(State.RUNNING);
  }

  /** With the product's engine, and the hypervisor's own migration as far as the source's end. */
  @ParameterizedTest
  @EnumSource(
      value = Strategy.class,
      names = {"MIRROR", "AUTO"})
  void aMoveBeneathAMirrorEndsWithBothDisksTheSame(Strategy strategy) throws Exception {
    Path copy = guests.disk("b", SIZE);
    write(true, CHUNK);
    try (RealScheduler scheduler = new RealScheduler("copy")) {
      SourceDisk source = guest.source("xvda");
      DiskPlan plan =
          new DiskPlan(
                  source,
                  () -> open(copy),
                  true,
                  MemoryDirtyLog.immediate(BlockMap.of(SIZE), scheduler))
              .withStrategy(strategy);
      CopyJob job =
          new CopyEngine()
              .start(
                  List.of(plan),
                  CopyOptions.DEFAULT.withTiming(
                      new WriteOrderingPoint.Timing(PATIENT, PATIENT, PATIENT)),
                  scheduler,
                  new CopyListener() {});
      await()
          .atMost(Duration.ofSeconds(60))
          .until(() -> {
            write(true, ThreadLocalRandom.current().nextInt((int) SIZE / 4096) * 4096);
            return job.snapshot().phase() == CopySnapshot.Phase.CONVERGED;
          });
      Guest incoming =
          guests
              .host("d")
              .startIncoming(
                  guests.spec(vm, Map.of("xenferry:workload-rate", "0"), guests.disk("c", SIZE)));
      guest.sendMemory(incoming.incomingSocket(), 0);
      await().until(() -> guest.memoryProgress().sent() > 0);
      CompletableFuture<Void> prepared = job.prepareSwitch();
      for (int i = 0; i < 40 || !prepared.isDone(); i++) {
        write(true, ThreadLocalRandom.current().nextInt((int) SIZE / 4096) * 4096);
      }
      prepared.get(60, SECONDS);
      guest.pauseForSwitch(Duration.ofMillis(300));
      awaitState(guest, State.PRE_SWITCHOVER);
      CopySnapshot drained = job.drain().get(60, SECONDS);
      CopySnapshot.Mirror mirror = drained.disks().getFirst().mirror();
      assertThat(mirror.fallbacks()).as(mirror.toString()).isZero();
      assertThat(mirror.writes()).isGreaterThanOrEqualTo(strategy == Strategy.MIRROR ? 40 : 1);
      assertThat(Files.mismatch(guests.directory.resolve("a"), copy)).isEqualTo(-1);
      guest.finishMemory();
      awaitState(guest, State.SENT);
      job.close().get(60, SECONDS);
    }
  }

  private static CompletableFuture<Destination> open(Path file) {
    try {
      return CompletableFuture.completedFuture(
          new Destination(FileBackend.open(file, FileBackend.Mode.READ_WRITE), System.nanoTime()));
    } catch (IOException e) {
      return CompletableFuture.failedFuture(e);
    }
  }

  @Test
  void aDiskGoesOnWithItsCopyAndALaterServerKnows() throws Exception {
    Path disk = guests.directory.resolve("a");
    Path copy = guests.directory.resolve("b");
    GuestSpec.Disk next = new GuestSpec.Disk("xvda", UUID.randomUUID(), copy, "raw", false);
    write(true, CHUNK);
    assertThat(guest.image("xvda")).isEqualTo(disk);
    assertThatThrownBy(() -> guest.replaceImage(next))
        .as("the guest runs")
        .isInstanceOf(HypervisorException.class);
    guest.pause();
    assertThatThrownBy(() -> guest.replaceImage(next))
        .as("there is no such file")
        .isInstanceOf(HypervisorException.class);
    Files.copy(disk, copy);
    guest.replaceImage(next);
    assertThat(guest.image("xvda")).isEqualTo(copy);
    guest.resume();
    write(true, 3 * CHUNK);
    guest.replaceImage(next);
    try (SourceDisk source = guest.source("xvda")) {
      dirty(source);
      write(true, 5 * CHUNK);
      assertThat(dirty(source)).containsExactly(new Range(5 * CHUNK, CHUNK));
    }
    assertThat(at(copy, CHUNK)).isEqualTo((byte) 0x5a);
    assertThat(at(copy, 3 * CHUNK)).isEqualTo((byte) 0x5a);
    assertThat(at(disk, 3 * CHUNK)).as("what the guest had before").isZero();
    FileBackend.open(disk, FileBackend.Mode.READ_WRITE).close();
    assertThatThrownBy(() -> FileBackend.open(copy, FileBackend.Mode.READ_WRITE))
        .as("the guest has it")
        .isInstanceOf(IOException.class);

    host.close();
    Guest found = guests.host("s").find(vm).orElseThrow();
    assertThat(found.hardware().spec().disks()).containsExactly(next);
    found.pause();
    Path back = guests.directory.resolve("c");
    Files.copy(copy, back);
    found.replaceImage(new GuestSpec.Disk("xvda", UUID.randomUUID(), back, "raw", false));
    assertThat(found.image("xvda")).isEqualTo(back);
    FileBackend.open(copy, FileBackend.Mode.READ_WRITE).close();
    found.resume();
    write(true, 7 * CHUNK);
    assertThat(at(back, 7 * CHUNK)).isEqualTo((byte) 0x5a);
  }

  private static byte at(Path file, long offset) throws IOException {
    try (var channel = java.nio.channels.FileChannel.open(file)) {
      ByteBuffer one = ByteBuffer.allocate(1);
      channel.read(one, offset);
      return one.get(0);
    }
  }

  @Test
  void whatADeadServerLeavesIsClearedAway() throws Exception {
    SourceDisk source = guest.source("xvda");
    SourceDisk.Mirror left = source.mirror(sink, PATIENT).get(60, SECONDS);
    host.close();
    assertThatItDied(left); // or its socket would still be there, in this process

    Guest found = guests.host("s").find(vm).orElseThrow();
    try (SourceDisk anew = found.source("xvda")) {
      write(true, CHUNK);
      assertThat(sink.at(CHUNK)).isZero();
      SourceDisk.Mirror mirror = anew.mirror(sink, PATIENT).get(60, SECONDS);
      write(true, CHUNK);
      assertThat(sink.at(CHUNK)).isEqualTo((byte) 0x5a);
      found.pause();
      mirror.end().get(30, SECONDS);
    }
    await().until(found::state, State.PAUSED::equals);
  }
}
