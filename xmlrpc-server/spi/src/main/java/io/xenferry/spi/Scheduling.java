package io.xenferry.spi;

import java.util.List;
import java.util.Set;

/**
 * How a guest's processors share those of this host with others.
 *
 * @param weight 1 to 65535: how much a processor of the guest gets where all want to run, beside
 *     others' weights
 * @param masks the host's processors, by number, on which each of the guest's may run, by its
 *     number; those beyond the list have the first one. Empty for wherever there is room
 */
public record Scheduling(int weight, List<Set<Integer>> masks) {
  /** What a guest has of which nothing is said. */
  public static final int WEIGHT = 256;

  /** The most that a weight can be. */
  public static final int MOST_WEIGHT = 65_535;

  /** Numbers of processors of a host are below. */
  public static final int PROCESSORS = 1024;

  /** Nothing is said. */
  public static final Scheduling FREE = new Scheduling(WEIGHT, List.of());

  public Scheduling {
    if (weight < 1 || weight > MOST_WEIGHT) {
      throw new IllegalArgumentException("no weight: " + weight);
    }
    masks = masks.stream().map(Set::copyOf).toList();
    for (Set<Integer> mask : masks) {
      if (mask.isEmpty() || mask.stream().anyMatch(p -> p < 0 || p >= PROCESSORS)) {
        throw new IllegalArgumentException("no mask: " + mask);
      }
    }
  }

  /** Those on which a processor of the guest may run; empty for all. */
  public Set<Integer> processors(int vcpu) {
    return masks.isEmpty() ? Set.of() : vcpu < masks.size() ? masks.get(vcpu) : masks.getFirst();
  }
}
