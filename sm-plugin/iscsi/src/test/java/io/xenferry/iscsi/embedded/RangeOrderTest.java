package io.xenferry.iscsi.embedded;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;

class RangeOrderTest {
  private final RangeOrder order = new RangeOrder(Runnable::run);
  private final Map<String, CompletableFuture<Void>> running = new LinkedHashMap<>();
  private final List<String> done = new ArrayList<>();

  private CompletableFuture<Void> begin(String name, long from, long to, boolean alone) {
    CompletableFuture<Void> result =
        order.run(
            from,
            to,
            alone,
            () -> {
              CompletableFuture<Void> work = new CompletableFuture<>();
              running.put(name, work);
              return work;
            });
    return result.whenComplete((ok, failure) -> done.add(name));
  }

  private void end(String name) {
    running.remove(name).complete(null);
  }

  @Test
  void plainWritesNeverWaitForOneAnother() {
    begin("a", 0, 10, false);
    begin("b", 5, 15, false);

    assertThat(running).containsOnlyKeys("a", "b");
  }

  @Test
  void oneThatMustBeAloneWaitsAndIsWaitedFor() {
    begin("write", 0, 10, false);
    begin("alone", 5, 15, true);
    begin("later", 12, 20, false);
    begin("elsewhere", 20, 30, true);
    assertThat(running).containsOnlyKeys("write", "elsewhere");

    end("write");
    assertThat(running).containsOnlyKeys("elsewhere", "alone");

    end("alone");
    assertThat(running).containsOnlyKeys("elsewhere", "later");
    end("later");
    assertThat(done).containsExactly("write", "alone", "later");
  }

  @Test
  void theyComeInTheirOrder() {
    for (int i = 0; i < 5; i++) {
      begin("a" + i, 0, 1, true);
    }
    for (int i = 0; i < 5; i++) {
      assertThat(running).containsOnlyKeys("a" + i);
      end("a" + i);
    }
    assertThat(done).containsExactly("a0", "a1", "a2", "a3", "a4");
  }

  @Test
  void aFailureIsToldAndLetsOthersGoOn() {
    CompletableFuture<Void> failing = begin("failing", 0, 1, true);
    begin("next", 0, 1, true);

    running.remove("failing").completeExceptionally(new IllegalStateException("broken"));

    assertThatThrownBy(failing::join).hasRootCauseMessage("broken");
    assertThat(running).containsOnlyKeys("next");
  }
}
