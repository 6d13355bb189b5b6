package io.xenferry.migration.peer;

import io.xenferry.migration.preflight.Obstacle;
import io.xenferry.migration.preflight.ObstacleKind;
import io.xenferry.migration.preflight.Survey;
import io.xenferry.migration.state.Role;
import java.util.List;

/**
 * What a destination says beside the first obstacle, to a source that asks for it by the protocol's
 * version {@link PeerAnswer#WITH_FINDINGS}.
 *
 * @param clock what the destination's clock shows, milliseconds since 1970
 * @param obstacles at most {@link Survey#MOST}
 */
public record Findings(long clock, List<Said> obstacles) {
  static final Findings NONE = new Findings(0, List.of());

  public Findings {
    obstacles = List.copyOf(obstacles);
    if (obstacles.size() > Survey.MOST) {
      throw new IllegalArgumentException(obstacles.size() + " obstacles");
    }
  }

  /**
   * One obstacle.
   *
   * @param kind its name in the table of the peer, which may be a newer one
   */
  public record Said(String kind, String code, List<String> params, String sentence) {
    public Said {
      params = List.copyOf(params);
      if (!code.matches("[A-Z0-9_]{0,80}")) {
        throw new IllegalArgumentException("not a code");
      }
    }
  }

  static Findings of(long clock, List<Obstacle> found) {
    return new Findings(
        clock,
        found.stream()
            .map(o -> new Said(o.kind().name(), o.code(), o.params(), o.sentence()))
            .toList());
  }

  /** As this host calls them. */
  public List<Obstacle> found() {
    return obstacles.stream()
        .map(said ->
            new Obstacle(
                ObstacleKind.named(said.kind()),
                Role.DESTINATION,
                said.code(),
                said.params(),
                said.sentence()))
        .toList();
  }
}
