package io.xenferry.bench.measure;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import picocli.CommandLine.Option;

/**
 * How often each of those who compete is measured: in rounds, each of which another one begins, so
 * that what changes on the machine meanwhile is shared by all.
 */
public final class Rounds {
  @Option(
      names = "--rounds",
      paramLabel = "N",
      description = "How often each is measured, in turn (default: ${DEFAULT-VALUE}).")
  private int rounds;

  @Option(
      names = "--warm-up",
      paramLabel = "N",
      description =
          "How often each is measured beforehand without that it counts: a JVM is slow before it"
              + " has compiled what runs often (default: ${DEFAULT-VALUE}).")
  private int warmUp;

  /**
   * @param rounds that count unless told otherwise
   * @param warmUp those before that do not
   */
  public Rounds(int rounds, int warmUp) {
    this.rounds = rounds;
    this.warmUp = warmUp;
  }

  /** One of those who compete. */
  public interface Kind<T> {
    /** Runs once, and tells what came of it. */
    T measure() throws Exception;
  }

  /** Hears of a round, in the order in which the kinds were given. */
  public interface Heard<T> {
    /**
     * @param round its name
     */
    void round(String round, List<T> results);
  }

  /** Whether there is something to measure. */
  public boolean any() {
    return rounds >= 1 && warmUp >= 0;
  }

  /**
   * Measures.
   *
   * @return for each kind the results of the rounds that count
   */
  public <T> List<List<T>> measure(List<? extends Kind<T>> kinds, Heard<T> heard) throws Exception {
    List<List<T>> counted = new ArrayList<>();
    kinds.forEach(kind -> counted.add(new ArrayList<>()));
    for (int round = -warmUp; round < rounds; round++) {
      List<T> results = new ArrayList<>();
      int first = Math.floorMod(round, kinds.size());
      for (int i = 0; i < kinds.size(); i++) {
        results.add(kinds.get((first + i) % kinds.size()).measure());
      }
      Collections.rotate(results, first);
      heard.round(round < 0 ? "warm-up" : "round " + (round + 1), results);
      if (round >= 0) {
        for (int i = 0; i < kinds.size(); i++) {
          counted.get(i).add(results.get(i));
        }
      }
    }
    return counted;
  }
}
