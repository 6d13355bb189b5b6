package io.xenferry.server.migration;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.server.task.Task;
import io.xenferry.time.Threads;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;

/** Whoever cancels a move need not wait for a destination that does not answer. */
class MoveCancelTest {
  /** Remembers what runs when it is cancelled. */
  private static final class Cancellable implements Task {
    private Runnable action = () -> {};

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
    public void tell(Map<String, String> more) {}

    @Override
    public boolean cancelled() {
      return false;
    }

    @Override
    public void throwIfCancelled() {}

    @Override
    public void onCancel(Runnable action) {
      this.action = action;
    }

    @Override
    public void onCancelAsk(Supplier<CompletableFuture<Void>> decision) {
      throw new AssertionError("a move that has not begun has nothing to decide");
    }
  }

  private final Cancellable task = new Cancellable();
  private final MoveCancel cancel = MoveCancel.of(task);

  @Test
  void endsTheWaitingForAnAnswerThatDoesNotCome() throws Exception {
    CompletableFuture<String> waiting = new CompletableFuture<>();
    Thread.ofVirtual()
        .start(() -> {
          try {
            cancel.await(new CompletableFuture<>(), Threads.VIRTUAL);
            waiting.complete("there was an answer");
          } catch (Exception e) {
            waiting.complete(e.toString());
          }
        });
    task.action.run();
    assertThat(waiting.get(30, TimeUnit.SECONDS)).contains("TASK_CANCELLED", task.ref());
    assertThatThrownBy(cancel::throwIfAsked).hasMessageContaining("TASK_CANCELLED");
  }

  @Test
  void anAnswerOfWhateverKindIsHeardFirst() throws Exception {
    cancel.await(
        CompletableFuture.failedFuture(new IllegalStateException("it refuses")), Threads.VIRTUAL);
    cancel.ask();
    cancel.await(CompletableFuture.completedFuture("yes"), Threads.VIRTUAL);
    assertThat(cancel.asked()).isTrue();
  }
}
