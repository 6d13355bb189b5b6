package io.xenferry.simulation;

import java.util.Random;

/**
 * How bad the world of one seed is; all are probabilities, per event. People look about three times
 * a second.
 *
 * @param messageLoss of a request or an answer
 * @param messageDouble of a request that arrives twice
 * @param messageLate of one that takes seconds
 * @param cuts of the network being cut, per look
 * @param crash of a server, before or after each ledger record
 * @param powerLoss of a crash being the whole host's
 * @param effectRefused of an effect failing without having happened
 * @param effectUnknown of an effect failing although it happened
 * @param blockLoss of an answer of the target being lost
 * @param guestDeath of the guest's process, per look
 * @param cancel of a client cancelling, per look
 * @param mirrorDeath of a disk's mirror dying, per start and per write of the guest
 * @param ledgerFailure of a ledger becoming unwritable for a while, before or after each record
 */
record Faults(
    double messageLoss,
    double messageDouble,
    double messageLate,
    double cuts,
    double crash,
    double powerLoss,
    double effectRefused,
    double effectUnknown,
    double blockLoss,
    double guestDeath,
    double cancel,
    double mirrorDeath,
    double ledgerFailure) {

  static final Faults NONE = new Faults(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);

  /** Each kind is off in some seeds, mild in most, and heavy in a few. */
  static Faults draw(Random random) {
    return new Faults(
        level(random, 0.03),
        level(random, 0.10),
        level(random, 0.04),
        level(random, 0.02),
        level(random, 0.015),
        level(random, 0.3),
        level(random, 0.01),
        level(random, 0.01),
        level(random, 0.003),
        level(random, 0.004),
        level(random, 0.02),
        level(random, 0.05),
        level(random, 0.01));
  }

  private static double level(Random random, double usual) {
    return switch (random.nextInt(6)) {
      case 0, 1 -> 0;
      case 2, 3, 4 -> usual;
      default -> Math.min(0.5, usual * 4);
    };
  }
}
