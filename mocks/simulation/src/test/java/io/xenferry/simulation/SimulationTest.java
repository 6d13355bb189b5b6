package io.xenferry.simulation;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class SimulationTest {
  private static final int SEEDS = 10_000;

  @Test
  void everyPromiseHoldsInEverySeed() throws InterruptedException {
    Tally tally = Tally.of(1, SEEDS, Variant.SOUND, Runtime.getRuntime().availableProcessors());
    assertThat(tally.failures())
        .as("replay with ./xenferry simulate --trace --seeds=1 --first=SEED")
        .isEmpty();
    assertThat(tally.counts())
        .as("what happened: %s", tally.counts())
        .containsKeys(
            "moved",
            "stayed",
            "cancels",
            "messages lost",
            "messages doubled",
            "messages late",
            "network cuts",
            "servers killed",
            "hosts lost power",
            "effects refused",
            "effects with no answer",
            "starts refused by the gate",
            "guest processes died",
            "guests shut down");
  }

  @Test
  void aSeedReplaysTaskForTask() {
    List<String> one = new ArrayList<>();
    List<String> two = new ArrayList<>();
    Simulation.Result first = Simulation.run(77, Variant.SOUND, one);
    Simulation.Result second = Simulation.run(77, Variant.SOUND, two);
    assertThat(second.fingerprint()).isEqualTo(first.fingerprint());
    assertThat(two).isEqualTo(one).isNotEmpty();
    assertThat(Simulation.run(77, Variant.SOUND, null).fingerprint())
        .isEqualTo(first.fingerprint());
  }

  @ParameterizedTest
  @EnumSource(
      value = Variant.class,
      names = {"SOUND", "INCARNATION_UNCHECKED", "ACCEPTED_BLINDLY"},
      mode = EnumSource.Mode.EXCLUDE)
  void aBrokenProductIsFoundOut(Variant variant) {
    boolean found =
        LongStream.range(1, 400)
            .anyMatch(seed -> Simulation.run(seed, variant, null).violation().isPresent());
    assertThat(found).isTrue();
  }

  @Test
  void aRestoredLedgerIsNotBelieved() {
    List<String> trace = new ArrayList<>();
    assertThat(Simulation.restoredLedger(5, Variant.SOUND, trace).violation())
        .as(String.join("\n", trace))
        .isEmpty();
    assertThat(Simulation.restoredLedger(5, Variant.ACCEPTED_BLINDLY, null).violation())
        .isPresent();
  }

  @Test
  void aLedgerThatIsLostIsNotTakenForTheOneOfBefore() {
    List<String> trace = new ArrayList<>();
    assertThat(Simulation.lostLedger(5, Variant.SOUND, trace).violation())
        .as(String.join("\n", trace))
        .isEmpty();
    assertThat(Simulation.lostLedger(5, Variant.INCARNATION_UNCHECKED, null).violation())
        .isPresent();
  }
}
