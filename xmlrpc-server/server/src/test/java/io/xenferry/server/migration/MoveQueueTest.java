package io.xenferry.server.migration;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Places;
import io.xenferry.model.XenApiException;
import io.xenferry.server.task.Task;
import io.xenferry.time.Threads;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;

/** Who goes when, and who waits for what. */
class MoveQueueTest {
  private static final Duration LONG = Duration.ofSeconds(30);

  private volatile Places places = new Places(2, Map.of("sr", 1));

  /** What the ledger has under way. */
  private final Map<MigrationId, Set<String>> leaving = new ConcurrentHashMap<>();

  private final MoveQueue queue =
      new MoveQueue(srs -> places, () -> Map.copyOf(leaving), Threads.VIRTUAL, Instant::now);
  private final List<String> begun = Collections.synchronizedList(new ArrayList<>());

  /** Why a destination has no place; absent where it has. */
  private final Map<String, String> full = Collections.synchronizedMap(new HashMap<>());

  /** A move on a thread of its own, as moves are. */
  private final class Move {
    final String name;
    final MoveQueue.Needs needs;
    final CompletableFuture<MoveQueue.Place> place = new CompletableFuture<>();
    final List<String> told = Collections.synchronizedList(new ArrayList<>());

    Move(String name, String sr, String destination) {
      this.name = name;
      this.needs =
          new MoveQueue.Needs(
              new MigrationId(UUID.randomUUID()), UUID.randomUUID(), Set.of(sr), destination);
      Thread.ofVirtual().start(this::run);
      await().atMost(LONG).until(() -> place.isDone() || isQueued());
    }

    private boolean isQueued() {
      return queue.waiting().stream()
          .anyMatch(
              w -> w.migration().equals(needs.migration()) && !w.waitsFor().equals("its turn"));
    }

    private void run() {
      try {
        MoveQueue.Place mine =
            queue.await(
                needs,
                new Telling(told),
                MoveCancel.of(new Telling(told)),
                () -> Optional.ofNullable(full.get(needs.destination())));
        mine.begun(() -> CompletableFuture.completedFuture(null));
        begun.add(name);
        place.complete(mine);
      } catch (XenApiException | InterruptedException | RuntimeException e) {
        place.completeExceptionally(e);
      }
    }

    void end() throws Exception {
      place.get(30, TimeUnit.SECONDS).close();
    }
  }

  private List<String> waitsFor() {
    return queue.waiting().stream().map(MoveQueue.Waiting::waitsFor).toList();
  }

  private void awaitBegun(String... names) {
    await().atMost(LONG).untilAsserted(() -> assertThat(begun).containsExactly(names));
  }

  @Test
  void whoComesBeyondTheHostsPlacesWaitsAndTheOrderIsKept() throws Exception {
    Move a = new Move("a", "one", "there");
    Move b = new Move("b", "two", "there");
    Move c = new Move("c", "three", "there");
    new Move("d", "four", "there");
    awaitBegun("a", "b");
    assertThat(waitsFor())
        .hasSize(2)
        .allMatch("one of the 2 places for moves from this host"::equals);
    assertThat(queue.waiting()).extracting(MoveQueue.Waiting::position).containsExactly(1, 2);
    assertThat(queue.waiting().getFirst().migration()).isEqualTo(c.needs.migration());
    b.end();
    awaitBegun("a", "b", "c");
    a.end();
    awaitBegun("a", "b", "c", "d");
    assertThat(c.told).last().isEqualTo("");
  }

  @Test
  void whoWaitsForAnSrIsOvertakenByWhoDoesNotNeedIt() throws Exception {
    places = new Places(3, Map.of("sr", 1));
    Move a = new Move("a", "sr", "there");
    new Move("b", "sr", "there too");
    new Move("c", "other", "elsewhere");
    awaitBegun("a", "c");
    assertThat(waitsFor()).containsExactly("one of the 1 places for moves from the SR sr");
    a.end();
    awaitBegun("a", "c", "b");
  }

  @Test
  void aFullDestinationHoldsUpThoseThatGoThereAndNobodyElse() throws Exception {
    full.put("there", "3 moves are arriving at the destination or expected there");
    new Move("a", "one", "there");
    new Move("b", "two", "there");
    new Move("c", "three", "elsewhere");
    awaitBegun("c");
    assertThat(waitsFor())
        .containsExactly(
            "3 moves are arriving at the destination or expected there",
            "its turn at the destination");
    full.clear();
    await().atMost(LONG).until(() -> begun.size() == 2);
    assertThat(begun).containsExactly("c", "a");
  }

  @Test
  void whoIsCancelledIsGone() {
    places = new Places(1, Map.of());
    new Move("a", "one", "there");
    Move b = new Move("b", "two", "there");
    assertThat(queue.cancel(b.needs.migration()).orElseThrow()).isCompleted();
    assertThatThrownBy(() -> b.place.get(30, TimeUnit.SECONDS))
        .isInstanceOf(ExecutionException.class)
        .hasMessageContaining("TASK_CANCELLED");
    assertThat(queue.waiting()).isEmpty();
    assertThat(queue.cancel(b.needs.migration())).isEmpty();
    assertThat(begun).containsExactly("a");
  }

  private static MoveQueue.Needs needs() {
    return new MoveQueue.Needs(
        new MigrationId(UUID.randomUUID()), UUID.randomUUID(), Set.of("one"), "there");
  }

  @Test
  void whoWasCancelledWhileTheDestinationWasAskedDoesNotBeginWhateverThatSays() throws Exception {
    MoveQueue.Needs needs = needs();
    CountDownLatch asked = new CountDownLatch(1);
    CountDownLatch answer = new CountDownLatch(1);
    CompletableFuture<String> outcome = new CompletableFuture<>();
    Thread.ofVirtual()
        .start(() -> {
          Task task = new Telling(new ArrayList<>());
          try (MoveQueue.Place place =
              queue.await(
                  needs,
                  task,
                  MoveCancel.of(task),
                  () -> {
                    asked.countDown();
                    answer.await();
                    return Optional.empty();
                  })) {
            outcome.complete("it has a place");
          } catch (XenApiException | InterruptedException e) {
            outcome.complete(String.valueOf(e.getMessage()));
          }
        });
    assertThat(asked.await(30, TimeUnit.SECONDS)).isTrue();
    assertThat(queue.cancel(needs.migration()).orElseThrow()).isCompleted();
    answer.countDown();
    assertThat(outcome.get(30, TimeUnit.SECONDS)).contains("TASK_CANCELLED");
    assertThat(queue.waiting()).isEmpty();
  }

  @Test
  void whoCancelsAMoveThatIsJustBeginningHearsWhatBecomesOfIt() throws Exception {
    Task task = new Telling(new ArrayList<>());
    MoveQueue.Needs needs = needs();
    try (MoveQueue.Place place =
        queue.await(needs, task, MoveCancel.of(task), Optional::<String>empty)) {
      assertThat(queue.waiting(needs.migration()).orElseThrow().phase()).isEqualTo("beginning");
      CompletableFuture<Void> cancelled = queue.cancel(needs.migration()).orElseThrow();
      assertThat(cancelled).isNotDone();
      place.begun(() -> CompletableFuture.failedFuture(new IllegalStateException("too late")));
      assertThatThrownBy(() -> cancelled.get(30, TimeUnit.SECONDS))
          .hasMessageContaining("too late");
      assertThat(queue.cancel(needs.migration())).as("the coordinator's from now on").isEmpty();
      assertThat(queue.waiting()).isEmpty();
    }
    CompletableFuture<Void> cancelled;
    MoveCancel cancel = MoveCancel.of(task);
    try (MoveQueue.Place place = queue.await(needs, task, cancel, Optional::<String>empty)) {
      cancelled = queue.cancel(needs.migration()).orElseThrow();
      assertThat(cancelled).isNotDone();
      assertThatThrownBy(cancel::throwIfAsked).hasMessageContaining("TASK_CANCELLED");
    }
    cancelled.get(30, TimeUnit.SECONDS);
  }

  @Test
  void aMoveThatAServerBeforeHasBegunTakesItsPlaces() {
    MigrationId before = new MigrationId(UUID.randomUUID());
    leaving.put(before, Set.of("sr"));
    Move a = new Move("a", "one", "there");
    Move b = new Move("b", "two", "there");
    awaitBegun("a");
    assertThat(waitsFor()).containsExactly("one of the 2 places for moves from this host");
    places = new Places(3, Map.of("sr", 1));
    awaitBegun("a", "b");
    new Move("c", "sr", "there");
    places = new Places(0, Map.of("sr", 1));
    await()
        .atMost(LONG)
        .untilAsserted(() ->
            assertThat(waitsFor()).containsExactly("one of the 1 places for moves from the SR sr"));
    // These have rows by now, and count once.
    leaving.put(a.needs.migration(), a.needs.srs());
    leaving.put(b.needs.migration(), b.needs.srs());
    places = new Places(3, Map.of("sr", 1));
    leaving.remove(before);
    awaitBegun("a", "b", "c");
  }

  @Test
  void aRaisedLimitLetsThemGoWithoutAnybodyEnding() {
    places = new Places(1, Map.of());
    new Move("a", "one", "there");
    new Move("b", "two", "there");
    assertThat(begun).containsExactly("a");
    places = new Places(0, Map.of());
    awaitBegun("a", "b");
  }

  private record Telling(List<String> told) implements Task {
    @Override
    public String ref() {
      return "OpaqueRef:task";
    }

    @Override
    public void progress(double fraction) {}

    @Override
    public void cancellable(boolean possible) {}

    @Override
    public void note(String key, String value) {}

    @Override
    public void tell(Map<String, String> more) {
      told.addAll(more.values());
    }

    @Override
    public boolean cancelled() {
      return false;
    }

    @Override
    public void throwIfCancelled() {}

    @Override
    public void onCancel(Runnable action) {}

    @Override
    public void onCancelAsk(Supplier<CompletableFuture<Void>> decision) {}
  }
}
