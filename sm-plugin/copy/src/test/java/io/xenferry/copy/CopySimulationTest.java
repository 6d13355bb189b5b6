package io.xenferry.copy;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.fail;

import io.xenferry.copy.WriteOrderingPoint.Defect;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class CopySimulationTest {
  private static final long SEEDS = Long.getLong("xenferry.seeds", 1000);

  @Test
  void keepsItsPromisesWhateverGoesWrong() {
    int mirrored = 0;
    int died = 0;
    for (long seed = 1; seed <= SEEDS; seed++) {
      try {
        CopySimulation simulation = new CopySimulation(seed, Set.of());
        simulation.run();
        mirrored += simulation.mirroredToTheEnd ? 1 : 0;
        died += simulation.mirrorsDied;
      } catch (Throwable e) {
        fail("seed " + seed, e);
      }
    }
    assertThat(mirrored).as("mirrored until the guest stood still").isGreaterThan((int) SEEDS / 20);
    assertThat(died).as("mirrors that died").isGreaterThan((int) SEEDS / 20);
  }

  @Test
  void keepsThemWithSnapshotsToo() {
    int several = 0;
    int lost = 0;
    for (long seed = 1; seed <= SEEDS; seed++) {
      try {
        CopySimulation simulation = new CopySimulation(seed, Set.of(), true);
        simulation.run();
        several += simulation.snapshots > 1 ? 1 : 0;
        lost += simulation.givenBack;
      } catch (Throwable e) {
        fail("seed " + seed, e);
      }
    }
    assertThat(several).as("copied in several passes").isGreaterThan((int) SEEDS / 10);
    assertThat(lost).as("snapshots lost while they were read").isGreaterThan((int) SEEDS / 20);
  }

  @Test
  void repeatsItself() {
    assertThat(fingerprint(7)).isEqualTo(fingerprint(7)).isNotEqualTo(fingerprint(8));
  }

  private static long fingerprint(long seed) {
    CopySimulation simulation = new CopySimulation(seed, Set.of());
    simulation.run();
    return simulation.fingerprint();
  }

  /** Were the point wrong in one of these ways, the test above would fail. */
  @ParameterizedTest
  @EnumSource(Defect.class)
  void catchesEachDefect(Defect defect) {
    for (long seed = 1; seed <= SEEDS; seed++) {
      try {
        new CopySimulation(seed, Set.of(defect)).run();
      } catch (AssertionError | RuntimeException e) {
        return;
      }
    }
    fail(defect + " goes unnoticed in " + SEEDS + " runs");
  }
}
