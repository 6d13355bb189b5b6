package io.xenferry.simulation;

import java.util.Random;

/** How bad the world of one seed is: a rate for each fault. */
final class Faults {
  static final Faults NONE = new Faults(new double[Fault.values().length]);

  private final double[] rates;

  private Faults(double[] rates) {
    this.rates = rates;
  }

  /** A probability, of what {@link Fault} says. */
  double rate(Fault fault) {
    return rates[fault.ordinal()];
  }

  /** Some worlds have none but those aimed at a state; in the others some kinds are heavy. */
  static Faults draw(Random random) {
    boolean fair = random.nextInt(3) == 0;
    double[] rates = new double[Fault.values().length];
    for (Fault fault : Fault.values()) {
      rates[fault.ordinal()] = fair ? 0 : level(random, fault.usual());
    }
    return new Faults(rates);
  }

  /** Those there are, with their rates. */
  @Override
  public String toString() {
    StringBuilder text = new StringBuilder();
    for (Fault fault : Fault.values()) {
      if (rate(fault) > 0) {
        text.append(text.isEmpty() ? "" : ", ")
            .append(fault.words())
            .append(' ')
            .append(rate(fault));
      }
    }
    return text.isEmpty() ? "none by chance" : text.toString();
  }

  private static double level(Random random, double usual) {
    return switch (random.nextInt(6)) {
      case 0, 1 -> 0;
      case 2, 3, 4 -> usual;
      default -> Math.min(0.5, usual * 4);
    };
  }
}
