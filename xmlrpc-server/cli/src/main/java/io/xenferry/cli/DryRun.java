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
   * @throws CliException when there is any: the status says so
   */
  static void show(Run run, List<Migrations.Obstacle> found) throws IOException, CliException {
    if (found.isEmpty()) {
      run.printer().say("Nothing stands against the move.");
      return;
    }
    if (run.printer().minimal()) {
      run.client().print(String.join(",", found.stream().map(Migrations.Obstacle::code).toList()));
    } else {
      for (Migrations.Obstacle obstacle : found) {
        run.client().print(text(run, obstacle));
      }
    }
    throw new CliException(CliException.Kind.SHOWN, "");
  }

  private static String text(Run run, Migrations.Obstacle obstacle) {
    StringBuilder text = new StringBuilder();
    text.append(obstacle.code()).append(" (").append(obstacle.side()).append("): ");
    text.append(obstacle.sentence());
    ErrorText.lines(run.calls(), new XenApiException(obstacle.code(), obstacle.params()))
        .lines()
        .skip(1) // the code's own sentence
        .forEach(line -> text.append("\n    ").append(line));
    return text.append("\n    remedy: ").append(obstacle.remedy()).toString();
  }
}
