package io.xenferry.bench.migrate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;

class LatenciesTest {

  @Test
  void aQuantileIsTheUpperBoundOfItsBucket() {
    Latencies latencies = Latencies.parse("3:98,24:1,32:1");

    assertThat(latencies.count()).isEqualTo(100);
    assertThat(latencies.quantile(0.5)).hasValue(4);
    // 32 to 36, and 64 to 72 microseconds
    assertThat(latencies.quantile(0.99)).hasValue(36);
    assertThat(latencies.quantile(1)).hasValue(72);
  }

  @Test
  void histogramsAddUp() {
    Latencies latencies = Latencies.parse("1:1");
    latencies.add(Latencies.parse("1:2,5:1"));

    assertThat(latencies.count()).isEqualTo(4);
    assertThat(latencies.quantile(0.75)).hasValue(2);
    assertThat(latencies.quantile(0.76)).hasValue(6);
  }

  @Test
  void nothingHasNoQuantile() {
    assertThat(Latencies.parse("").quantile(0.99)).isEmpty();
  }

  @Test
  void halfALineIsRefused() {
    assertThatThrownBy(() -> Latencies.parse("42:1,4"))
        .isInstanceOf(IllegalArgumentException.class);
  }
}
