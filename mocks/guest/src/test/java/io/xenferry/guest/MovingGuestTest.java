package io.xenferry.guest;

import static io.xenferry.guest.Guests.awaitState;
import static java.util.concurrent.TimeUnit.SECONDS;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.block.FileBackend;
import io.xenferry.block.Range;
import io.xenferry.copy.SourceDisk;
import io.xenferry.guest.ledger.FillPattern;
import io.xenferry.qemu.SimulatedLauncher;
import io.xenferry.spi.Guest;
import io.xenferry.spi.Guest.State;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** A guest that writes without pause, what can happen to it, and what the verifier says. */
class MovingGuestTest {
  private static final long SIZE = 16 << 20;

  private final UUID vm = UUID.randomUUID();
  private Guests guests;

  @BeforeEach
  void open() throws Exception {
    guests = new Guests(SimulatedLauncher.ofThisJvm());
  }

  @AfterEach
  void close() throws Exception {
    guests.close();
  }

  private Path filled(String name, int index) throws Exception {
    Path file = guests.disk(name, SIZE);
    DiskFiller.fill(file, index, new FillPattern(SIZE, 40, 7), guests.ledger());
    return file;
  }

  @Test
  void theVerifierAcceptsAKilledGuestAndSeesEveryFlippedByte() throws Exception {
    Path a = filled("a", 0);
    Path b = filled("b", 1);
    Guest guest = guests.host("s").start(guests.spec(vm, Map.of(), a, b), false);
    await().until(() -> Files.size(guests.ledger()) > 64 * 300);
    guest.destroy();

    Verdict verdict = Verifier.verify(guests.ledger(), List.of(a, b));
    assertThat(verdict.examples()).isEmpty();
    assertThat(verdict.good()).isTrue();
    assertThat(verdict.acknowledged()).isGreaterThan(100);
    assertThat(verdict.overlaps()).isZero();

    Path spoilt = guests.directory.resolve("spoilt");
    for (long at = 17; at < SIZE; at += SIZE / 16 + 4096) {
      Files.copy(b, spoilt, StandardCopyOption.REPLACE_EXISTING);
      try (RandomAccessFile file = new RandomAccessFile(spoilt.toFile(), "rw")) {
        file.seek(at);
        int old = file.read();
        file.seek(at);
        file.write(old ^ 4);
      }
      assertThat(Verifier.verify(guests.ledger(), List.of(a, spoilt)).good())
          .as("with a byte flipped at %d", at)
          .isFalse();
    }
    assertThat(Verifier.verify(guests.ledger(), List.of(b, a)).good()).isFalse();
    assertThat(
            Verifier.verify(guests.ledger(), List.of(a, guests.disk("empty", SIZE))).lostBlocks())
        .isPositive();
  }

  @Test
  void movesWithItsDisksWithoutLosingAWrite() throws Exception {
    List<Path> sources = List.of(filled("a", 0), filled("b", 1));
    List<Path> destinations = List.of(guests.disk("e", SIZE), guests.disk("f", SIZE));
    Guest source =
        guests.host("s").start(guests.spec(vm, Map.of(), sources.toArray(Path[]::new)), false);
    Guest destination =
        guests
            .host("d")
            .startIncoming(guests.spec(vm, Map.of(), destinations.toArray(Path[]::new)));
    source.throttle(2 << 20);
    List<SourceDisk> disks = new ArrayList<>();
    for (String device : source.devices()) {
      disks.add(source.source(device));
    }
    for (int pass = 0; pass < 4; pass++) {
      copy(disks, destinations, pass == 2);
    }
    assertThat(source.state()).isEqualTo(State.RUNNING);
    source.sendMemory(destination.incomingSocket(), 0);
    await().until(() -> source.memoryProgress().sent() > 1 << 20);
    source.pauseForSwitch(Duration.ofMillis(300));
    awaitState(source, State.PRE_SWITCHOVER);
    copy(disks, destinations, false);
    for (SourceDisk disk : disks) {
      assertThat(disk.dirtyBytes().get(10, SECONDS)).isZero();
      disk.close();
    }
    source.finishMemory();
    awaitState(source, State.SENT);
    awaitState(destination, State.RECEIVED);
    long before = Files.size(guests.ledger());
    destination.activate();
    destination.resume();
    await().until(() -> Files.size(guests.ledger()) > before + 64 * 100);
    destination.pause();
    source.destroy();
    destination.destroy();

    Verdict verdict = Verifier.verify(guests.ledger(), destinations);
    assertThat(verdict.examples()).isEmpty();
    assertThat(verdict.good()).isTrue();
    assertThat(verdict.handovers()).isEqualTo(1);
    assertThat(verdict.longestDowntime()).isPositive();
    assertThat(Verifier.verify(guests.ledger(), sources).lostBlocks()).isPositive();
  }

  @Test
  void theVerifierSeesAPassThatWasLeftOutAndTwoGuestsAtOnce() throws Exception {
    Path a = filled("a", 0);
    Path c = guests.disk("c", SIZE);
    Guest source = guests.host("s").start(guests.spec(vm, Map.of(), a), false);
    SourceDisk disk = source.source("xvda");
    copy(List.of(disk), List.of(c), false);
    await().until(() -> disk.dirtyBytes().get(10, SECONDS) > 0);
    Guest twin = guests.host("d").start(guests.spec(vm, Map.of(), c), false);
    long before = Files.size(guests.ledger());
    await().until(() -> Files.size(guests.ledger()) > before + 64 * 400);
    twin.pause();
    source.pause();
    twin.destroy();
    source.destroy();

    Verdict verdict = Verifier.verify(guests.ledger(), List.of(c));
    assertThat(verdict.overlaps()).isPositive();
    assertThat(verdict.lostBlocks()).isPositive();
  }

  private static void copy(List<SourceDisk> from, List<Path> to, boolean giveBack)
      throws Exception {
    for (int i = 0; i < from.size(); i++) {
      SourceDisk.Pass pass = from.get(i).beginPass().get(10, SECONDS);
      try (FileBackend target = FileBackend.open(to.get(i), FileBackend.Mode.READ_WRITE_SHARED)) {
        for (Range range : giveBack ? List.<Range>of() : pass.ranges()) {
          for (long at = range.offset(); at < range.end(); at += 1 << 20) {
            ByteBuffer buffer =
                ByteBuffer.allocateDirect((int) Math.min(1 << 20, range.end() - at));
            pass.content().read(at, buffer).get(10, SECONDS);
            target.write(at, buffer.rewind()).get(10, SECONDS);
          }
        }
      }
      pass.end(!giveBack).get(10, SECONDS);
    }
  }
}
