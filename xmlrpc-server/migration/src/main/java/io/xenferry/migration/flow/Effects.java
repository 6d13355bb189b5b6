package io.xenferry.migration.flow;

import io.xenferry.time.Scheduler;
import java.net.ConnectException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;
import java.util.function.Supplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What a migration has under way: effects on this host, and questions. Each has a deadline, and
 * what it says is heard only while the stage lasts that began it. Confined to the coordinator's
 * scheduler.
 */
final class Effects {
  private static final Logger LOG = LoggerFactory.getLogger(Effects.class);

  private final Migration migration;
  private int underWay;
  private final List<Runnable> whenQuiet = new ArrayList<>();

  Effects(Migration migration) {
    this.migration = migration;
  }

  /** Whether no effect is under way, heard or not. */
  boolean quiet() {
    return underWay == 0;
  }

  /**
   * Runs an effect, which the migration's phase is named after.
   *
   * @param late gets a result that came when nobody waited for it any more
   */
  <T> void step(
      Stage owner,
      String what,
      Duration limit,
      Supplier<? extends CompletableFuture<T>> effect,
      Consumer<T> then,
      Consumer<Throwable> failed,
      Consumer<T> late) {
    migration.phase(what);
    await(owner, what, limit, effect, then, failed, late, true);
  }

  /** Like a step, but without an effect on this host that a clean-up would have to wait for. */
  <T> void hear(
      Stage owner,
      String what,
      Duration limit,
      Supplier<? extends CompletableFuture<T>> question,
      Consumer<T> then,
      Consumer<Throwable> failed) {
    await(owner, what, limit, question, then, failed, late -> {}, false);
  }

  private <T> void await(
      Stage owner,
      String what,
      Duration limit,
      Supplier<? extends CompletableFuture<T>> effect,
      Consumer<T> then,
      Consumer<Throwable> failed,
      Consumer<T> late,
      boolean counted) {
    int weight = counted ? 1 : 0;
    underWay += weight;
    CompletableFuture<T> running;
    try {
      running = effect.get();
    } catch (RuntimeException e) {
      running = CompletableFuture.failedFuture(e);
    }
    boolean[] over = {false};
    Scheduler.Cancellable timer =
        scheduler()
            .schedule(
                limit,
                () -> {
                  if (!over[0]) {
                    over[0] = true;
                    String sentence = "no answer within " + limit.toSeconds() + " s: " + what;
                    owner.guarded(() -> failed.accept(migration.failure(sentence)));
                  }
                });
    running.whenComplete((value, failure) ->
        scheduler()
            .execute(() -> {
              timer.cancel();
              underWay -= weight;
              boolean heard = !over[0] && owner.active();
              over[0] = true;
              if (failure == null && !heard) {
                late.accept(value);
              } else if (heard && failure != null) {
                owner.guarded(() -> failed.accept(unwrap(failure)));
              } else if (heard) {
                owner.guarded(() -> then.accept(value));
              }
              quieten();
            }));
  }

  /** Runs the effects one after another. */
  void sequence(Stage owner, List<Effect> effects, Runnable then, Consumer<Throwable> failed) {
    if (effects.isEmpty()) {
      then.run();
      return;
    }
    Effect first = effects.getFirst();
    List<Effect> rest = effects.subList(1, effects.size());
    owner.step(
        first.what(),
        () -> first.run().get().thenApply(ignored -> true),
        done -> sequence(owner, rest, then, failed),
        failed);
  }

  /** Runs the effects, from the first one again after each failure, until all have succeeded. */
  void persist(Stage owner, Supplier<List<Effect>> effects, Runnable then) {
    persist(owner, effects, then, 0);
  }

  private void persist(Stage owner, Supplier<List<Effect>> effects, Runnable then, int attempt) {
    sequence(
        owner,
        effects.get(),
        then,
        failure -> {
          LOG.warn(
              "{}: {} failed, attempt {}: {}",
              migration.row(),
              migration.status().phase(),
              attempt + 1,
              failure.toString());
          after(
              owner,
              backOff(attempt),
              () -> whenQuiet(owner, () -> persist(owner, effects, then, attempt + 1)));
        });
  }

  /** Runs when no effect is under way any more: a late one must not outlive the clean-up. */
  void whenQuiet(Stage owner, Runnable work) {
    if (quiet()) {
      owner.guarded(work);
    } else {
      whenQuiet.add(() -> owner.guarded(work));
    }
  }

  private void quieten() {
    if (quiet() && !whenQuiet.isEmpty()) {
      List<Runnable> now = List.copyOf(whenQuiet);
      whenQuiet.clear();
      now.forEach(Runnable::run);
    }
  }

  /** Runs later, if the stage still lasts. */
  Scheduler.Cancellable after(Stage owner, Duration delay, Runnable work) {
    return scheduler().schedule(delay, () -> owner.guarded(work));
  }

  /** Doubling, up to a bound, with a jitter of a quarter. */
  Duration backOff(int attempt) {
    long first = migration.host().deadlines().retryFirst().toNanos();
    long most = migration.host().deadlines().retryMost().toNanos();
    long wait = Math.min(most, first << Math.min(attempt, 20));
    return Duration.ofNanos((long) (wait * (0.75 + migration.host().random().fraction() / 2)));
  }

  private Scheduler scheduler() {
    return migration.host().scheduler();
  }

  /** What has happened, for people; many exceptions of the JDK say it by their class only. */
  static String words(Throwable failure) {
    String message = failure.getMessage();
    if (message != null && !message.isEmpty()) {
      return message;
    }
    if (failure instanceof ConnectException) {
      return "connection refused, or no way there";
    }
    return failure instanceof TimeoutException
        ? "it came too late"
        : failure.getClass().getSimpleName();
  }

  private static Throwable unwrap(Throwable failure) {
    return failure instanceof CompletionException && failure.getCause() != null
        ? failure.getCause()
        : failure;
  }
}
