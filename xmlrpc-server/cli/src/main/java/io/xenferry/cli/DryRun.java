package io.xenferry.cli;

import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.util.List;

/** What stands against a move that was not begun, as its user reads it. */
final class DryRun {
  private DryRun() {}

  /**
   * Shows each obstacle with its code and what to do about it; with {@code --minimal} the codes.
   *
   * @throws CliException when there is any that is more than a warning: the status says so
   */
  static void show(Run run, List<Migrations.Obstacle> found) throws IOException, CliException {
    List<String> codes =
        found.stream().filter(Migrations.Obstacle::blocks).map(Migrations.Obstacle::code).toList();
    for (Migrations.Obstacle obstacle : found) {
      run.printer().say(text(run, obstacle));
    }
    if (codes.isEmpty()) {
      run.printer().say("Nothing stands against the move.");
      return;
    }
    if (run.printer().minimal()) {
      run.client().print(String.join(",", codes));
    }
    throw new CliException(CliException.Kind.SHOWN, "");
  }

  /** An obstacle with what to do about it, over several lines. */
  static String text(Run run, Migrations.Obstacle obstacle) {
    StringBuilder text = new StringBuilder();
    text.append(obstacle.blocks() ? "" : "warning: ");
    text.append(obstacle.code()).append(" (").append(obstacle.side()).append("): ");
    text.append(obstacle.sentence());
    if (obstacle.blocks()) {
      ErrorText.lines(run.calls(), new XenApiException(obstacle.code(), obstacle.params()))
          .lines()
          .skip(1) // the code's own sentence
          .forEach(line -> text.append("\n    ").append(line));
    }
    return text.append("\n    remedy: ").append(obstacle.remedy()).toString();
  }
}
