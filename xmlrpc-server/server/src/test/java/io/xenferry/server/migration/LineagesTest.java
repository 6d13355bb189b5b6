package io.xenferry.server.migration;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.migration.state.Plan;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.UUID;
import org.junit.jupiter.api.Test;

/** By which disks at a destination those of a move may be known. */
class LineagesTest {
  private final UUID first = UUID.randomUUID();
  private final UUID second = UUID.randomUUID();
  private final UUID ofFirst = UUID.randomUUID();

  private Plan plan(Map<String, String> options) {
    Map<String, String> all = new TreeMap<>(options);
    all.put("xenferry:lineages", first + "=" + ofFirst + "," + second + "=" + second);
    UUID vm = UUID.randomUUID();
    return new Plan(
        vm,
        vm,
        "vm",
        Plan.Power.RUNNING,
        4096,
        List.of(
            disk(first, "fast"), disk(second, "large"), disk(UUID.randomUUID(), "of no lineage")),
        false,
        false,
        all);
  }

  private static Plan.Disk disk(UUID vdi, String sr) {
    return new Plan.Disk(vdi, "xvda", 1 << 20, sr, "log-dirty", false);
  }

  @Test
  void areTheirOwnOrThoseOfWhichTheyDescend() {
    assertThat(Lineages.bySr(plan(Map.of())))
        .isEqualTo(Map.of("fast", Set.of(ofFirst.toString()), "large", Set.of(second.toString())));
  }

  @Test
  void areTheOneThatIsAskedFor() {
    String base = UUID.randomUUID().toString();
    assertThat(Lineages.bySr(plan(Map.of(Lineages.OPTION, base))))
        .isEqualTo(Map.of("fast", Set.of(base), "large", Set.of(base)));
  }
}
