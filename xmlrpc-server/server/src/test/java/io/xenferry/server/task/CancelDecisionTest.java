package io.xenferry.server.task;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.model.Ref;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.MemoryDatabase;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.server.schema.Schema;
import io.xenferry.time.Threads;
import java.time.Clock;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeoutException;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** What becomes of a cancel whose task takes its time to decide, or cannot be asked. */
@Timeout(60)
class CancelDecisionTest {
  private static final String BY = "OpaqueRef:canceller";

  /** What is done beside other work is done before that goes on. */
  private static final class AtOnce implements Threads {
    @Override
    public void start(String name, Work work) {
      try {
        work.run();
      } catch (Exception e) {
        throw new AssertionError(name, e);
      }
    }

    @Override
    public <T> T await(CompletableFuture<T> future)
        throws InterruptedException, ExecutionException {
      return VIRTUAL.await(future);
    }

    @Override
    public <T> T await(CompletableFuture<T> future, Duration limit)
        throws InterruptedException, ExecutionException, TimeoutException {
      return VIRTUAL.await(future, limit);
    }

    @Override
    public long nanoTime() {
      return VIRTUAL.nanoTime();
    }
  }

  private final ObjectDatabase database = MemoryDatabase.create();
  private final Tasks tasks = new Tasks(database, new Schema(), Clock.systemUTC(), new AtOnce());
  private final CompletableFuture<Void> decision = new CompletableFuture<>();
  private Task task;

  @BeforeEach
  void begin() throws XenApiException {
    task = tasks.start("work", "", Ref.nullRef(), "", Ref.nullRef(), true);
  }

  /** Somebody cancels, and is gone before it is decided. */
  private void cancel() throws XenApiException {
    task.onCancelAsk(() -> {
      Thread.currentThread().interrupt();
      return decision;
    });
    tasks.cancel(task.ref(), BY);
    assertThat(Thread.interrupted()).isTrue();
    assertThat(operations()).containsEntry(BY, "cancel");
    assertThat(task.cancelled()).isTrue();
  }

  private Map<String, String> operations() {
    return new Schema()
        .textMap(database.snapshot().row("task", task.ref()).orElseThrow(), "current_operations");
  }

  @Test
  void aLateRefusalTakesTheCancelBack() throws Exception {
    cancel();
    decision.completeExceptionally(new IllegalStateException("too late"));
    assertThat(operations()).isEmpty();
    assertThat(task.cancelled()).isFalse();
  }

  @Test
  void aLateConsentLeavesItAsItIs() throws Exception {
    cancel();
    decision.complete(null);
    tasks.fail(task.ref(), new XenApiException("TASK_CANCELLED", task.ref()));
    assertThat(operations()).containsEntry(BY, "cancel");
    assertThat(task.cancelled()).isTrue();
  }

  @Test
  void workThatCannotBeAskedGoesOnAndSoDoTheOthers() throws Exception {
    CompletableFuture<Void> asked = new CompletableFuture<>();
    task.onCancelAsk(() -> {
      throw new IllegalStateException("no ledger");
    });
    task.onCancel(() -> asked.complete(null));
    assertThatThrownBy(() -> tasks.cancel(task.ref(), BY))
        .isInstanceOfSatisfying(
            XenApiException.class, e -> assertThat(e.code()).isEqualTo("OPERATION_NOT_ALLOWED"));
    assertThat(asked).isCompleted();
    assertThat(task.cancelled()).isFalse();
    assertThat(operations()).isEmpty();
  }
}
