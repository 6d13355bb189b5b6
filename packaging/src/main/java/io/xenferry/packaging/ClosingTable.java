package io.xenferry.packaging;

import com.fasterxml.jackson.databind.JsonNode;
import io.xenferry.guest.Verdict;
import java.io.PrintStream;
import java.time.Duration;
import java.util.Locale;

/** What a move cost, and what the checker found. */
final class ClosingTable {
  private final PrintStream out;

  ClosingTable(PrintStream out) {
    this.out = out;
  }

  /**
   * @param gap the longest without an acknowledged write while the VM moved
   */
  void print(JsonNode status, double seconds, Duration gap, Verdict verdict) {
    out.printf(
        "%-8s %12s %12s %12s %8s %12s %10s%n",
        "disk", "logical", "allocated", "sent", "passes", "mirrored", "fallbacks");
    long sent = 0;
    for (JsonNode disk : status.path("disks")) {
      sent += disk.path("sent").asLong();
      out.printf(
          "%-8s %12s %12s %12s %8d %10.1f s %10d%n",
          disk.path("device").asText(),
          Demo.bytes(disk.path("size").asDouble()),
          Demo.bytes(disk.path("allocated").asDouble()),
          Demo.bytes(disk.path("sent").asDouble()),
          disk.path("passes").size(),
          disk.path("mirrored-seconds").asDouble(),
          disk.path("fallbacks").asInt());
    }
    row("memory", Demo.bytes(status.path("memory-sent").asDouble()));
    row("transport", status.path("transport").asText());
    row("total time", String.format(Locale.ROOT, "%.1f s", seconds));
    row("rate", Demo.bytes(sent / seconds) + "/s");
    row("downtime", String.format(Locale.ROOT, "%.0f ms", status.path("downtime-ms").asDouble()));
    row("longest gap between writes", gap.toMillis() + " ms");
    row("acknowledged writes", Long.toString(verdict.acknowledged()));
    row("records checked", Long.toString(verdict.blocksChecked()));
    row("corrupt blocks", Long.toString(verdict.corruptBlocks()));
    row("two guests at once", Long.toString(verdict.overlaps()));
  }

  private void row(String name, String value) {
    out.printf("%-27s %s%n", name, value);
  }
}
