package io.xenferry.migration.preflight;

import io.xenferry.migration.state.MigrationException;
import io.xenferry.migration.state.Role;
import io.xenferry.model.XenApiException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Supplier;

/**
 * Goes on looking where a check alone would stop at the first obstacle. The move is refused with
 * the first of what is found, a dry run tells all: so both make the same checks in the same order.
 * For one thread.
 */
public final class Survey {
  /** Nobody mends more at a time, and an answer to a peer has a limit. */
  public static final int MOST = 64;

  private final Role side;
  private final List<Obstacle> found = new ArrayList<>();

  /**
   * @param side of the host that looks
   */
  public Survey(Role side) {
    this.side = side;
  }

  /** A check without a result. */
  @FunctionalInterface
  public interface Look {
    void look() throws XenApiException;
  }

  /** A check with a result that others go on with. */
  @FunctionalInterface
  public interface Question<T, X extends Exception> {
    T ask() throws XenApiException, X;
  }

  /**
   * Makes a check.
   *
   * @param kinds what its codes mean
   */
  public void look(Look check, ObstacleKind... kinds) {
    try {
      check.look();
    } catch (XenApiException e) {
      raise(e, kinds);
    }
  }

  /**
   * Makes a check.
   *
   * @param kinds what its codes mean
   * @return empty when it found an obstacle
   */
  public <T, X extends Exception> Optional<T> ask(Question<T, X> check, ObstacleKind... kinds)
      throws X {
    try {
      return Optional.of(check.ask());
    } catch (XenApiException e) {
      raise(e, kinds);
      return Optional.empty();
    }
  }

  /**
   * Makes a check of the coordinator's.
   *
   * @param kinds what its codes mean
   * @return false when it found an obstacle
   */
  public boolean passes(Runnable check, ObstacleKind... kinds) {
    try {
      check.run();
      return true;
    } catch (MigrationException e) {
      add(Obstacle.of(side, e, kinds));
      return false;
    }
  }

  /**
   * Makes a check of the coordinator's.
   *
   * @param kinds what its codes mean
   * @return empty when it found an obstacle
   */
  public <T> Optional<T> attempt(Supplier<T> check, ObstacleKind... kinds) {
    try {
      return Optional.of(check.get());
    } catch (MigrationException e) {
      add(Obstacle.of(side, e, kinds));
      return Optional.empty();
    }
  }

  /** Notes what a check has failed with that makes no list. */
  public void raise(MigrationException obstacle, ObstacleKind... kinds) {
    add(Obstacle.of(side, obstacle, kinds));
  }

  /** Notes an obstacle. */
  public void raise(XenApiException obstacle, ObstacleKind... kinds) {
    add(Obstacle.of(side, obstacle, kinds));
  }

  /** Notes an obstacle that somebody else has found. */
  public void add(Obstacle obstacle) {
    if (found.size() < MOST && !found.contains(obstacle)) {
      found.add(obstacle);
    }
  }

  /** Notes what is no reason to stay. */
  public void warn(ObstacleKind warning, String... params) {
    List<String> all = List.of(params);
    add(new Obstacle(warning, side, "", all, warning.sentence(all)));
  }

  /**
   * For who needs only the first that blocks.
   *
   * @throws MigrationException that names it
   */
  public static void refuse(List<Obstacle> found) {
    Optional<Obstacle> first = first(found);
    if (first.isPresent()) {
      throw first.get().toException();
    }
  }

  /** What the move is refused with; empty where it may begin. */
  public static Optional<Obstacle> first(List<Obstacle> found) {
    return found.stream().filter(obstacle -> obstacle.kind().blocks()).findFirst();
  }

  /** In the order in which the move would meet them; at most {@link #MOST}. */
  public List<Obstacle> found() {
    return List.copyOf(found);
  }
}
