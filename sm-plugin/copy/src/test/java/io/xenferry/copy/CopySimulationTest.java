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

  /** Some mistakes show where several things come together only. */
  private static final int RARE = 8;

  @Test
  void keepsItsPromisesWhateverGoesWrong() {
    int mirrored = 0;
    int died = 0;
    int saved = 0;
    int verified = 0;
    for (long seed = 1; seed <= SEEDS; seed++) {
      try {
        CopySimulation simulation = new CopySimulation(seed, Set.of());
        simulation.run();
        mirrored += simulation.mirroredToTheEnd ? 1 : 0;
        died += simulation.mirrorsDied;
        saved += simulation.saved > 0 ? 1 : 0;
        verified += simulation.verified > 0 ? 1 : 0;
      } catch (Throwable e) {
        fail("seed " + seed, e);
      }
    }
    assertThat(mirrored).as("mirrored until the guest stood still").isGreaterThan((int) SEEDS / 20);
    assertThat(saved).as("began on an older copy").isGreaterThan((int) SEEDS / 20);
    assertThat(verified).as("verified").isGreaterThan((int) SEEDS / 2);
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

  /** A copy that verifies everything either finds it or ends with the same on both sides. */
  @Test
  void findsEachByteThatDoesNotArriveAsItWasSent() {
    int found = 0;
    for (long seed = 1; seed <= SEEDS; seed++) {
      try {
        new CopySimulation(seed, Set.of(), seed % 4 == 0).damaging().run();
      } catch (CopySimulation.DamageFound e) {
        found++;
      } catch (Throwable e) {
        fail("seed " + seed, e);
      }
    }
    assertThat(found).as("found").isGreaterThan((int) SEEDS / 2);
  }

  @Test
  void findsEachByteThatChangesInThePause() {
    int found = 0;
    for (long seed = 1; seed <= SEEDS; seed++) {
      try {
        new CopySimulation(seed, Set.of(), seed % 4 == 0).rotting().run();
      } catch (CopySimulation.DamageFound e) {
        found++;
      } catch (Throwable e) {
        fail("seed " + seed, e);
      }
    }
    assertThat(found).as("found").isGreaterThan((int) SEEDS / 2);
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
    for (long seed = 1; seed <= RARE * SEEDS; seed++) {
      try {
        new CopySimulation(seed, Set.of(defect)).run();
      } catch (AssertionError | RuntimeException e) {
        return;
      }
    }
    fail(defect + " goes unnoticed in " + RARE * SEEDS + " runs");
  }
}
