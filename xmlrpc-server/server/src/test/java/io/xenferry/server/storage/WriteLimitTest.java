package io.xenferry.server.storage;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.spi.HypervisorException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

/** A guest that was slowed and let go is not slow in the end. */
class WriteLimitTest {
  private final List<Long> told = Collections.synchronizedList(new ArrayList<>());
  private final CountDownLatch slow = new CountDownLatch(1);

  private void set(long bytesPerSecond) throws InterruptedException {
    if (bytesPerSecond != 0) {
      slow.await();
    }
    told.add(bytesPerSecond);
  }

  @Test
  void changesDoNotOvertakeEachOther() throws Exception {
    WriteLimit limit = new WriteLimit(this::set);
    var unused = limit.set(1000);
    CompletableFuture<Void> free = limit.set(0);
    assertThat(free).isNotDone();
    slow.countDown();
    free.get(30, TimeUnit.SECONDS);
    assertThat(told).containsExactly(1000L, 0L);
  }

  @Test
  void oneThatFailsDoesNotHoldUpTheNext() throws Exception {
    WriteLimit limit =
        new WriteLimit(bytesPerSecond -> {
          if (bytesPerSecond != 0) {
            throw new HypervisorException(HypervisorException.Kind.REFUSED, "it does not listen");
          }
          told.add(bytesPerSecond);
        });
    CompletableFuture<Void> first = limit.set(1000);
    limit.set(0).get(30, TimeUnit.SECONDS);
    assertThat(first).isCompletedExceptionally();
    assertThat(told).containsExactly(0L);
  }
}
