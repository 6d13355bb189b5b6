package io.xenferry.migration.state;

import java.time.Duration;
import java.util.Optional;

/**
 * A move with a reboot: the disks are copied while the guest runs, as in any other move, but its
 * memory stays. Instead the guest is asked to shut down, and boots at the destination.
 *
 * @param shutdown how long the guest may take to shut down
 * @param hard whether it is then stopped at once, as if its power failed; otherwise it goes on
 *     where it is
 */
public record WarmMove(Duration shutdown, boolean hard) {
  /** The option of a plan: {@code live} or {@code warm}. */
  public static final String MODE = "mode";

  public static final String LIVE = "live";
  public static final String WARM = "warm";

  /** The option of a plan; seconds. */
  public static final String TIMEOUT = "shutdown-timeout";

  /** The option of a plan: true or false. */
  public static final String HARD = "hard-shutdown";

  /** As long as a client's own request to shut down waits. */
  public static final Duration DEFAULT_TIMEOUT = Duration.ofMinutes(20);

  /** Empty where the guest moves as it is, memory and all, or does not run. */
  public static Optional<WarmMove> of(Plan plan) {
    return plan.warm()
        ? Optional.of(
            new WarmMove(
                Optional.ofNullable(plan.options().get(TIMEOUT))
                    .map(Long::parseLong)
                    .map(Duration::ofSeconds)
                    .orElse(DEFAULT_TIMEOUT),
                "true".equals(plan.options().get(HARD))))
        : Optional.empty();
  }
}
