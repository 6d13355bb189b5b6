package io.xenferry.migration.preflight;

import io.xenferry.migration.state.MigrationException;
import io.xenferry.migration.state.Role;
import io.xenferry.model.XenApiException;
import java.util.List;

/**
 * One thing that stands against a move.
 *
 * @param side who sees it
 * @param code XenAPI's, as the move would fail with it
 * @param params of the code
 * @param sentence for people
 */
public record Obstacle(
    ObstacleKind kind, Role side, String code, List<String> params, String sentence) {

  /** Characters of a sentence; parameters have a limit of their own. */
  private static final int LONGEST = 1000;

  public Obstacle {
    params = List.copyOf(params);
    sentence = sentence.length() > LONGEST ? sentence.substring(0, LONGEST) + "…" : sentence;
  }

  /** What a check has thrown, which is one of these kinds, or {@link ObstacleKind#OTHER}. */
  static Obstacle of(Role side, XenApiException thrown, ObstacleKind... kinds) {
    return of(side, thrown.code(), thrown.params(), String.valueOf(thrown.getMessage()), kinds);
  }

  private static Obstacle of(
      Role side, String code, List<String> params, String message, ObstacleKind... kinds) {
    ObstacleKind kind = ObstacleKind.among(code, kinds);
    return new Obstacle(
        kind, side, code, params, kind == ObstacleKind.OTHER ? message : kind.sentence(params));
  }

  /** What a check has failed with; its sentence says more than the code's parameters. */
  public static Obstacle of(Role side, MigrationException thrown, ObstacleKind... kinds) {
    ObstacleKind kind = ObstacleKind.among(thrown.code(), kinds);
    return new Obstacle(
        kind, side, thrown.code(), thrown.params(), String.valueOf(thrown.getMessage()));
  }

  /** What a peer has said that names no kind. */
  public static Obstacle unnamed(Role side, String code, List<String> params, String sentence) {
    ObstacleKind kind = ObstacleKind.only(code, side);
    return new Obstacle(
        kind, side, code, params, kind == ObstacleKind.OTHER ? sentence : kind.sentence(params));
  }

  /** The same under the code's own parameters. */
  public Obstacle with(List<String> allParams) {
    return new Obstacle(kind, side, code, allParams, sentence);
  }

  public MigrationException toException() {
    return new MigrationException(code, params, sentence);
  }
}
