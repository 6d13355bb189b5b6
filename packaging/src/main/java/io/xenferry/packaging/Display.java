package io.xenferry.packaging;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.PrintStream;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;

/**
 * Shows a move while it happens: on a terminal lines that are redrawn, else a line for each pass,
 * for each change of a disk's strategy, and for each change of state.
 */
final class Display {
  private static final int SHOWN = 3;

  private final PrintStream out;
  private final boolean terminal;
  private final Map<String, Integer> passesShown = new HashMap<>();
  private final Map<String, String> strategies = new HashMap<>();
  private int drawn;
  private String shownState = "";

  Display(PrintStream out, boolean terminal) {
    this.out = out;
    this.terminal = terminal;
  }

  synchronized void show(JsonNode status) {
    if (terminal) {
      redraw(status);
    } else {
      log(status);
    }
  }

  private void redraw(JsonNode status) {
    StringBuilder text = new StringBuilder();
    if (drawn > 0) {
      text.append("\u001b[").append(drawn).append("A");
    }
    drawn = 0;
    for (JsonNode disk : status.path("disks")) {
      text.append("\u001b[2K  ").append(line(disk)).append('\n');
      drawn++;
    }
    text.append("\u001b[2K  ").append(state(status)).append('\n');
    drawn++;
    out.print(text);
    out.flush();
  }

  private void log(JsonNode status) {
    for (JsonNode disk : status.path("disks")) {
      String device = disk.path("device").asText();
      int passes = disk.path("passes").size();
      String strategy = disk.path("strategy").asText();
      boolean changed = !strategy.equals(strategies.put(device, strategy));
      if (passes > passesShown.getOrDefault(device, 0) || changed && passes > 0) {
        passesShown.put(device, passes);
        out.println("  " + line(disk));
      }
    }
    String state = status.path("state").asText() + " " + status.path("phase").asText();
    if (!state.equals(shownState)) {
      shownState = state;
      out.println("  " + state(status));
    }
  }

  private static String line(JsonNode disk) {
    return String.format(
        Locale.ROOT,
        "%-5s %-9s  sent %9s  left %9s  %10s/s  dirtied %9s/s  %s",
        disk.path("device").asText(),
        disk.path("strategy").asText(),
        Demo.bytes(disk.path("sent").asDouble()),
        Demo.bytes(disk.path("remaining").asDouble()),
        Demo.bytes(disk.path("bytes-per-second").asDouble()),
        Demo.bytes(disk.path("dirty-per-second").asDouble()),
        passes(disk.path("passes")));
  }

  /** What each pass had to send; of many the newest. */
  private static String passes(JsonNode passes) {
    StringBuilder text = new StringBuilder();
    for (int i = Math.max(0, passes.size() - SHOWN); i < passes.size(); i++) {
      text.append(text.isEmpty() ? "pass " + (i + 1) + ": " : " → ")
          .append(Demo.bytes(passes.get(i).path("dirty").asDouble()));
    }
    return text.toString();
  }

  private static String state(JsonNode status) {
    String phase = status.path("phase").asText();
    return String.format(
        Locale.ROOT,
        "%3.0f %%  %s%s",
        status.path("progress").asDouble() * 100,
        status.path("state").asText(),
        phase.isEmpty() ? "" : ": " + phase);
  }

  /** The next move starts below. */
  synchronized void done() {
    drawn = 0;
    shownState = "";
    passesShown.clear();
    strategies.clear();
  }
}
