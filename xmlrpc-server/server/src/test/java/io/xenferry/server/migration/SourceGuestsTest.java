package io.xenferry.server.migration;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.copy.SourceDisk;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.ports.MemoryTarget;
import io.xenferry.migration.ports.RefusedException;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Plan;
import io.xenferry.spi.Guest;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.Hypervisor;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * What a guest that is sent is told, and that a command which comes late, after the sending was
 * cancelled, does not reach it.
 */
class SourceGuestsTest {
  private static final UUID VM = UUID.randomUUID();
  private static final MemoryTarget TARGET =
      new MemoryTarget(new MigrationId(UUID.randomUUID()), "https://127.0.0.1:1", "", "");

  private static final Plan PLAN = plan(Map.of());

  @TempDir private Path directory;

  private final RecordingGuest guest = new RecordingGuest();
  private final SlowHypervisor hypervisor = new SlowHypervisor(guest);
  private final SourceGuests guests =
      new SourceGuests(
          hypervisor,
          Duration.ofMillis(300),
          target -> {
            throw new IOException("no destination in this test");
          },
          (vm, seenHere) -> {});

  private static Plan plan(Map<String, String> options) {
    return new Plan(VM, VM, "vm", Plan.Power.RUNNING, 64 << 20, List.of(), false, false, options);
  }

  private static void settle(CompletableFuture<Void> future) throws Exception {
    future.get(30, TimeUnit.SECONDS);
  }

  private static void assertRefused(CompletableFuture<Void> future) {
    assertThatThrownBy(() -> settle(future))
        .isInstanceOf(ExecutionException.class)
        .hasCauseInstanceOf(RefusedException.class);
  }

  @Test
  void aPauseThatComesAfterTheCancelDoesNotReachTheGuest() throws Exception {
    CompletableFuture<Void> sent = guests.sendMemory(PLAN, TARGET);
    guest.awaitCommand("send");
    hypervisor.hold("pause");
    CompletableFuture<Void> pause = guests.pause(PLAN);
    hypervisor.awaitHeld();
    settle(guests.cancelMemory(VM));
    hypervisor.release();
    assertRefused(pause);
    assertRefused(sent);
    assertThat(guest.commands).containsExactly("cancel", "send", "cancel");
  }

  @Test
  void aPauseUnderWayIsWaitedForAndThenCancelled() throws Exception {
    CompletableFuture<Void> sent = guests.sendMemory(PLAN, TARGET);
    guest.awaitCommand("send");
    guest.holdPause = new CountDownLatch(1);
    CompletableFuture<Void> pause = guests.pause(PLAN);
    guest.awaitCommand("pause");
    CompletableFuture<Void> cancel = guests.cancelMemory(VM);
    assertThat(cancel).isNotDone();
    guest.holdPause.countDown();
    settle(cancel);
    assertThat(guest.commands).containsExactly("cancel", "send", "pause", "cancel");
    assertRefused(sent);
    // Nor does it go on looking for a guest that will not be paused.
    assertRefused(pause);
  }

  @Test
  void theRestIsHeldUntilTheSwitchSoThatNobodyIsPausedEarly() throws Exception {
    CompletableFuture<Void> sent = guests.sendMemory(PLAN, TARGET);
    guest.awaitCommand("send");
    assertThat(guest.held).isFalse();
    guest.progress = new Guest.MemoryProgress(200 << 20, 4096, 0);
    settle(sent);
    assertThat(guest.held).isTrue();
    assertThat(guest.commands).containsExactly("cancel", "send");
  }

  @Test
  void aRestThatDoesNotGetSmallIsTakenAsItIs() throws Exception {
    CompletableFuture<Void> sent = guests.sendMemory(PLAN, TARGET);
    guest.awaitCommand("send");
    CompletableFuture<Void> pause = guests.pause(PLAN);
    org.awaitility.Awaitility.await()
        .atMost(Duration.ofSeconds(30))
        .until(() -> guest.downtimes.size() == 2);
    assertThat(guest.downtimes).containsExactly(Duration.ofMillis(60), Duration.ofMillis(300));
    guest.tell(Guest.State.PRE_SWITCHOVER);
    settle(pause);
    settle(sent);
    assertThat(guest.listeners).isEmpty();
  }

  @Test
  void theMovesOwnBandwidthAndDowntimeReachTheGuest() throws Exception {
    Plan plan = plan(Map.of("bandwidth", "2000000", "max-downtime", "50"));
    CompletableFuture<Void> sent = guests.sendMemory(plan, TARGET);
    guest.awaitCommand("send");
    assertThat(guest.limits).containsExactly(2_000_000L);
    CompletableFuture<Void> pause = guests.pause(plan);
    org.awaitility.Awaitility.await()
        .atMost(Duration.ofSeconds(30))
        .until(() -> guest.downtimes.size() == 2);
    assertThat(guest.downtimes).containsExactly(Duration.ofMillis(10), Duration.ofMillis(50));
    guest.tell(Guest.State.PRE_SWITCHOVER);
    settle(pause);
    settle(sent);
  }

  @Test
  void aLimitIsChangedWhileTheMemoryIsSentAndNotOnceItIsHeld() throws Exception {
    settle(guests.limits(plan(Map.of("bandwidth", "1")))); // nothing is sent, nothing changes
    CompletableFuture<Void> sent = guests.sendMemory(plan(Map.of("bandwidth", "2")), TARGET);
    guest.awaitCommand("send");
    settle(guests.limits(plan(Map.of("bandwidth", "3"))));
    assertThat(guest.limits).containsExactly(2L, 3L);
    guest.progress = new Guest.MemoryProgress(200 << 20, 4096, 0);
    settle(sent);
    settle(guests.limits(plan(Map.of("bandwidth", "4"))));
    assertThat(guest.limits).as("it would let the held memory go").containsExactly(2L, 3L);
    settle(guests.cancelMemory(VM));
    settle(guests.limits(plan(Map.of("bandwidth", "5"))));
    assertThat(guest.limits).containsExactly(2L, 3L);
  }

  /** What fits a longer downtime that is allowed later counts as nearly sent. */
  @Test
  void aDowntimeIsChangedWhileTheMemoryIsSent() throws Exception {
    CompletableFuture<Void> sent = guests.sendMemory(PLAN, TARGET);
    guest.awaitCommand("send");
    guest.progress = new Guest.MemoryProgress(8 << 20, 1 << 30, 0);
    settle(guests.limits(plan(Map.of("max-downtime", "3600000"))));
    org.awaitility.Awaitility.await()
        .atMost(Duration.ofSeconds(30))
        .until(() -> {
          long before = guest.progress.sent();
          guest.progress = new Guest.MemoryProgress(before + (8 << 20), 1 << 30, 0);
          return sent.isDone();
        });
    settle(sent);
  }

  @Test
  void aMoveThatLiftsTheLimitHasNone() throws Exception {
    CompletableFuture<Void> sent = guests.sendMemory(plan(Map.of("bandwidth", "0")), TARGET);
    guest.awaitCommand("send");
    assertThat(guest.limits).containsExactly(0L);
    settle(guests.cancelMemory(VM));
    assertRefused(sent);
  }

  /** What a longer downtime has room for counts as nearly sent, which it never would else. */
  @Test
  void aLongerDowntimeIsEnoughForMoreMemory() throws Exception {
    CompletableFuture<Void> sent =
        guests.sendMemory(plan(Map.of("max-downtime", "3600000")), TARGET);
    guest.awaitCommand("send");
    // Some tens of MiB a second: by far enough for 1 GiB within an hour, too little within 300 ms.
    org.awaitility.Awaitility.await()
        .atMost(Duration.ofSeconds(30))
        .until(() -> {
          long before = guest.progress.sent();
          guest.progress = new Guest.MemoryProgress(before + (8 << 20), 1 << 30, 0);
          return sent.isDone();
        });
    settle(sent);
    assertThat(guest.held).isTrue();
  }

  @Test
  void aGuestThatPausesWithLittleLeftIsNotAskedTwice() throws Exception {
    CompletableFuture<Void> sent = guests.sendMemory(PLAN, TARGET);
    guest.awaitCommand("send");
    guest.state = Guest.State.PRE_SWITCHOVER;
    settle(guests.pause(PLAN));
    settle(sent);
    assertThat(guest.downtimes).containsExactly(Duration.ofMillis(60));
  }

  @Test
  void aSendingThatBeginsLateDoesNotBegin() throws Exception {
    hypervisor.hold("send");
    CompletableFuture<Void> sent = guests.sendMemory(PLAN, TARGET);
    hypervisor.awaitHeld();
    settle(guests.cancelMemory(VM));
    hypervisor.release();
    assertRefused(sent);
    assertThat(guest.commands).containsExactly("cancel");
  }

  @Test
  void theRestIsNotSentAfterTheGuestWasResumed() throws Exception {
    CompletableFuture<Void> sent = guests.sendMemory(PLAN, TARGET);
    guest.awaitCommand("send");
    hypervisor.hold("finish");
    CompletableFuture<Void> finish = guests.finishMemory(VM);
    hypervisor.awaitHeld();
    settle(guests.resume(VM));
    hypervisor.release();
    assertRefused(finish);
    assertRefused(sent);
    assertThat(guest.commands).doesNotContain("finish");
  }

  @Test
  void nothingIsPausedThatIsNotBeingSent() {
    assertRefused(guests.pause(PLAN));
    assertRefused(guests.finishMemory(VM));
    assertThat(guest.commands).isEmpty();
  }

  @Test
  void theNextSendingIsNotTheCancelledOne() throws Exception {
    CompletableFuture<Void> first = guests.sendMemory(PLAN, TARGET);
    guest.awaitCommand("send");
    settle(guests.cancelMemory(VM));
    assertRefused(first);
    guest.commands.clear();
    CompletableFuture<Void> second = guests.sendMemory(PLAN, TARGET);
    guest.awaitCommand("send");
    assertThat(second).isNotDone();
    settle(guests.cancelMemory(VM));
    assertRefused(second);
  }

  @Test
  void theEndOfAGuestIsHeardOnceItHasOne() throws Exception {
    CompletableFuture<GuestState> ended = guests.ended(VM);
    guest.awaitListener();
    guest.tell(Guest.State.PAUSED);
    assertThat(ended).isNotDone();
    guest.tell(Guest.State.SHUTDOWN);
    assertThat(ended.get(30, TimeUnit.SECONDS)).isEqualTo(GuestState.SHUTDOWN);
    assertThat(guest.listeners).isEmpty();
  }

  @Test
  void aGuestThatEndedBeforeAnybodyListenedIsKnownToHave() throws Exception {
    guest.state = Guest.State.GONE;
    assertThat(guests.ended(VM).get(30, TimeUnit.SECONDS)).isEqualTo(GuestState.GONE);
  }

  @Test
  void whoNoLongerWaitsForTheEndIsForgotten() {
    CompletableFuture<GuestState> ended = guests.ended(VM);
    guest.awaitListener();
    ended.cancel(false);
    assertThat(guest.listeners).isEmpty();
  }

  /** Finds its one guest, after a while for threads of a certain name. */
  private static final class SlowHypervisor implements Hypervisor {
    private final Guest guest;
    private final CountDownLatch held = new CountDownLatch(1);
    private final CountDownLatch release = new CountDownLatch(1);
    private volatile String slow = "nobody";

    SlowHypervisor(Guest guest) {
      this.guest = guest;
    }

    void hold(String threads) {
      slow = threads;
    }

    void awaitHeld() throws InterruptedException {
      assertThat(held.await(30, TimeUnit.SECONDS)).isTrue();
    }

    void release() {
      release.countDown();
    }

    @Override
    public String name() {
      return "slow";
    }

    @Override
    public Optional<Guest> find(UUID vm) throws InterruptedException {
      if (Thread.currentThread().getName().startsWith(slow)) {
        held.countDown();
        assertThat(release.await(30, TimeUnit.SECONDS)).isTrue();
      }
      return Optional.of(guest);
    }

    @Override
    public Guest start(GuestSpec spec, boolean paused) {
      throw new UnsupportedOperationException();
    }

    @Override
    public Guest startIncoming(GuestSpec spec) {
      throw new UnsupportedOperationException();
    }

    @Override
    public List<Guest> guests() {
      return List.of(guest);
    }

    @Override
    public void close() {}
  }

  /** Runs, for ever, and notes what it is told to do. */
  private final class RecordingGuest implements Guest {
    final List<String> commands = new CopyOnWriteArrayList<>();
    final List<Long> limits = new CopyOnWriteArrayList<>();
    final List<Duration> downtimes = new CopyOnWriteArrayList<>();
    final List<Consumer<State>> listeners = new CopyOnWriteArrayList<>();
    volatile CountDownLatch holdPause = new CountDownLatch(0);
    volatile State state = State.RUNNING;
    volatile boolean held;
    volatile MemoryProgress progress = new MemoryProgress(0, 1 << 30, 0);

    void awaitListener() {
      org.awaitility.Awaitility.await()
          .atMost(Duration.ofSeconds(30))
          .until(() -> !listeners.isEmpty());
    }

    void tell(State now) {
      state = now;
      listeners.forEach(listener -> listener.accept(now));
    }

    void awaitCommand(String command) {
      org.awaitility.Awaitility.await()
          .atMost(Duration.ofSeconds(30))
          .until(() -> commands.contains(command));
    }

    @Override
    public java.util.Optional<java.nio.file.Path> console(Console kind) {
      return java.util.Optional.empty();
    }

    @Override
    public io.xenferry.spi.Usage usage(java.time.Duration deadline) {
      throw new UnsupportedOperationException();
    }

    @Override
    public io.xenferry.spi.Hardware hardware() {
      throw new UnsupportedOperationException();
    }

    @Override
    public UUID vm() {
      return VM;
    }

    @Override
    public State state() {
      return state;
    }

    @Override
    public void pause() {
      throw new UnsupportedOperationException();
    }

    @Override
    public void resume() {
      commands.add("resume");
    }

    @Override
    public void shutdown() {
      throw new UnsupportedOperationException();
    }

    @Override
    public void restart() {
      throw new UnsupportedOperationException();
    }

    @Override
    public void destroy() {
      commands.add("destroy");
    }

    @Override
    public List<String> devices() {
      return List.of();
    }

    @Override
    public SourceDisk source(String device) {
      throw new UnsupportedOperationException();
    }

    @Override
    public void throttle(long bytesPerSecond) {
      throw new UnsupportedOperationException();
    }

    @Override
    public void sendMemory(Path unixSocket, long bytesPerSecond) {
      limits.add(bytesPerSecond);
      commands.add("send");
    }

    @Override
    public void limitMemory(long bytesPerSecond) {
      limits.add(bytesPerSecond);
    }

    @Override
    public void holdMemory() {
      held = true;
    }

    @Override
    public void pauseForSwitch(Duration downtime) throws InterruptedException {
      commands.add("pause");
      downtimes.add(downtime);
      assertThat(holdPause.await(30, TimeUnit.SECONDS)).isTrue();
    }

    @Override
    public void finishMemory() {
      commands.add("finish");
    }

    @Override
    public void cancelSend() {
      commands.add("cancel");
    }

    @Override
    public MemoryProgress memoryProgress() {
      return progress;
    }

    @Override
    public Path incomingSocket() {
      throw new UnsupportedOperationException();
    }

    @Override
    public Path outgoingSocket() {
      return directory.resolve("outgoing.sock");
    }

    @Override
    public void activate() {
      throw new UnsupportedOperationException();
    }

    @Override
    public void announce() {
      throw new UnsupportedOperationException();
    }

    @Override
    public AutoCloseable onChange(Consumer<State> listener) {
      listeners.add(listener);
      return () -> listeners.remove(listener);
    }
  }
}
