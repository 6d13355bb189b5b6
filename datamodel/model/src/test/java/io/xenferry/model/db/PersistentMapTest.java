package io.xenferry.model.db;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

class PersistentMapTest {
  @Test
  void behavesLikeATreeMapAndNeverChanges() {
    long seed = System.nanoTime();
    Random random = new Random(seed);
    TreeMap<Integer, Integer> model = new TreeMap<>();
    PersistentMap<Integer, Integer> map = PersistentMap.empty();
    for (int i = 0; i < 20_000; i++) {
      PersistentMap<Integer, Integer> before = map;
      int size = before.size();
      int key = random.nextInt(500);
      if (random.nextInt(3) == 0) {
        map = map.without(key);
        model.remove(key);
      } else {
        map = map.with(key, i);
        model.put(key, i);
      }
      assertThat(map.size()).as("seed %d step %d", seed, i).isEqualTo(model.size());
      assertThat(before.size()).isEqualTo(size);
      if (i % 500 == 0) {
        List<Integer> values = new ArrayList<>();
        map.values().forEach(values::add);
        assertThat(values).as("seed %d", seed).containsExactlyElementsOf(model.values());
        List<Integer> tail = new ArrayList<>();
        map.valuesAfter(250).forEachRemaining(tail::add);
        assertThat(tail)
            .as("seed %d", seed)
            .containsExactlyElementsOf(model.tailMap(250, false).values());
      }
    }
  }
}
