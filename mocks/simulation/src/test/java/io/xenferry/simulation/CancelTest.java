package io.xenferry.simulation;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.migration.MoveRequest;
import io.xenferry.migration.state.State;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A cancelled move: how soon it is over, and that nothing of it is in another's way. */
class CancelTest extends Story {
  /** What a person who cancels may be made to wait, before the commit. */
  private static final Duration SOON = Duration.ofSeconds(2);

  CancelTest() {
    super(31);
  }

  /** How long something takes to hold, in simulated time. */
  private Duration until(BooleanSupplier holds) {
    long began = world.scheduler.nanoTime();
    runUntil(holds);
    return Duration.ofNanos(world.scheduler.nanoTime() - began);
  }

  @Test
  void aProcessThatStartsOnlyToBeEndedIsNotWaitedFor() {
    destination.starting = Duration.ofMinutes(1);
    start(request());
    runUntil(() -> destination.starts.size() == 1 && status().phase().equals("copying the disks"));
    cancel();
    assertThat(until(() -> source.allEnded() && destination.allEnded())).isLessThan(SOON);
    assertStayed();
  }

  @Test
  void theSourceHearsAtOnceThatNothingIsLeft() {
    destination.ending = Duration.ofMillis(2_700);
    start(request());
    reach("sending the memory");
    cancel();
    runUntil(destination::allEnded);
    assertThat(until(source::allEnded)).isLessThan(Duration.ofMillis(100));
    assertStayed();
  }

  /** A source that asks again and again meanwhile hears of it as well. */
  @Test
  void aServerThatDiesMeanwhileIsAskedAgain() {
    destination.ending = Duration.ofMillis(900);
    start(request());
    reach("sending the memory");
    cancel();
    runUntil(() -> state(destination) == State.ABORTED);
    kill(destination);
    run(Duration.ofSeconds(5));
    comeBack(destination);
    runUntil(source::allEnded);
    assertStayed();
  }

  @ParameterizedTest
  @ValueSource(strings = {"opening at the destination", "looking at the guest", ""})
  void itsPlaceAtTheDestinationIsFreeForTheNext(String phase) {
    destination.places = 1;
    MoveRequest first = request();
    assertThat(turn(first)).isEmpty();
    assertThat(turn(request())).as("while it is promised").isPresent();
    if (!phase.isEmpty()) {
      whenIn(source, phase, this::cancel);
    }
    start(first);
    if (phase.isEmpty()) {
      reach("copying the disks");
      assertThat(turn(request()).orElse("")).contains("are arriving");
      cancel();
    }
    runUntil(() -> !source.ledgerDisk.rows().isEmpty() && source.allEnded());
    assertThat(state(source)).isEqualTo(State.OWNED);
    assertThat(turn(request())).isEmpty();
    assertStayed();
  }

  private Optional<String> turn(MoveRequest request) {
    CompletableFuture<Optional<String>> asked = server(source).turn(request);
    runUntil(asked::isDone);
    return asked.join();
  }

  @Test
  void whoeverWaitedIsToldThatTheVmStillRunsAndWhereThatIsNotSoWhatItDoes() {
    List<String> told = new ArrayList<>();
    CompletableFuture<?> cancelled = start(request());
    reach("copying the disks");
    cancel();
    runUntil(cancelled::isDone);
    told.add(failure(cancelled).getMessage());
    runUntil(source::allEnded);
    assertThat(told)
        .containsExactly("cancelled; the VM still runs at the source; nothing was changed");
    assertThat(status().outcome()).hasValue(told.getFirst());
    destination.full = true;
    CompletableFuture<?> refused = start(request());
    runUntil(refused::isDone);
    assertThat(failure(refused).getMessage())
        .endsWith("; the VM still runs at the source; nothing was changed");
    runUntil(source::allEnded);
    destination.full = false;
    source.failingPauses = 100;
    CompletableFuture<?> failed = start(request());
    runUntil(failed::isDone);
    assertThat(failure(failed).params())
        .last()
        .asString()
        .endsWith("; the VM still runs at the source; nothing was changed");
    runUntil(() -> source.allEnded() && destination.allEnded());
    assertStayed();
  }
}
