package io.xenferry.time;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

class RealSchedulerTest {
  @Test
  void runsTasksInOrderOnOneThreadAndSurvivesFailures() throws Exception {
    try (RealScheduler scheduler = new RealScheduler("test")) {
      List<Thread> threads = new CopyOnWriteArrayList<>();
      CompletableFuture<Void> done = new CompletableFuture<>();
      scheduler.execute(() -> {
        threads.add(Thread.currentThread());
        throw new IllegalStateException("on purpose");
      });
      scheduler.execute(() -> threads.add(Thread.currentThread()));
      scheduler.schedule(Duration.ofMillis(1), () -> done.complete(null));
      done.get(10, TimeUnit.SECONDS);
      assertThat(threads).hasSize(2).containsOnly(threads.getFirst());
    }
  }

  @Test
  void cancelledTasksDoNotRunAndClosedSchedulersDropTasks() throws Exception {
    RealScheduler scheduler = new RealScheduler("test");
    CompletableFuture<Void> never = new CompletableFuture<>();
    CompletableFuture<Void> done = new CompletableFuture<>();
    CompletableFuture<Void> cancelled = new CompletableFuture<>();
    scheduler.execute(cancelled::join);
    scheduler.schedule(Duration.ofMillis(1), () -> never.complete(null)).cancel();
    scheduler.schedule(Duration.ofMillis(2), () -> done.complete(null));
    cancelled.complete(null);
    done.get(10, TimeUnit.SECONDS);
    scheduler.close();
    scheduler.execute(() -> never.complete(null));
    scheduler.schedule(Duration.ZERO, () -> never.complete(null));
    assertThat(never).isNotDone();
  }
}
