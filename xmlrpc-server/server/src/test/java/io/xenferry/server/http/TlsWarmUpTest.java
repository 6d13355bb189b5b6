package io.xenferry.server.http;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TlsWarmUpTest {
  private static final long BYTES = 4 << 20;

  @TempDir Path directory;

  @Test
  void whatIsCarriedArrives() throws Exception {
    assertThat(TlsWarmUp.carry(Certificate.in(directory), BYTES, () -> true))
        .isBetween(BYTES, BYTES + (1 << 20));
  }

  @Test
  void itEndsWhenToldTo() throws Exception {
    AtomicInteger rounds = new AtomicInteger();
    assertThat(
            TlsWarmUp.carry(
                Certificate.in(directory), Long.MAX_VALUE, () -> rounds.incrementAndGet() < 50))
        .isPositive();
  }
}
