package io.xenferry.cli;

import java.io.IOException;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.Map;

/** Shows results: as tables and lines at once, or with {@code --minimal} as one line at the end. */
final class Printer {
  private final ClientChannel client;
  private final boolean minimal;

  /** What is to show at the end; the latest stands first, as scripts have come to expect. */
  private final Deque<String> kept = new ArrayDeque<>();

  Printer(ClientChannel client, boolean minimal) {
    this.client = client;
    this.minimal = minimal;
  }

  boolean minimal() {
    return minimal;
  }

  /** A line for each item. */
  void list(List<String> items) throws IOException {
    if (minimal) {
      items.reversed().forEach(item -> kept.addFirst(escaped(item)));
      return;
    }
    for (String item : items) {
      client.print(item);
    }
  }

  void line(String item) throws IOException {
    list(List.of(item));
  }

  /** Words to the user, which a script that asked for little does not get. */
  void say(String text) throws IOException {
    if (!minimal) {
      client.print(text);
    }
  }

  void sayOnStderr(String text) throws IOException {
    if (!minimal) {
      client.stderr(text);
    }
  }

  /** A table for each record; labels with values. */
  void tables(List<? extends List<Map.Entry<String, String>>> records) throws IOException {
    if (minimal) {
      list(records.stream().filter(r -> !r.isEmpty()).map(r -> r.getFirst().getValue()).toList());
      return;
    }
    for (List<Map.Entry<String, String>> record : records) {
      client.print(table(record));
    }
  }

  /** At the end of a command that succeeded. */
  void flush() throws IOException {
    if (minimal) {
      client.print(String.join(",", kept));
    }
  }

  static String table(List<Map.Entry<String, String>> record) {
    int width = 4 + record.stream().mapToInt(e -> e.getKey().length()).max().orElse(0);
    StringBuilder text = new StringBuilder();
    for (Map.Entry<String, String> line : record) {
      String blanks = " ".repeat(width - line.getKey().length());
      text.append(text.isEmpty() ? line.getKey() + blanks : blanks + line.getKey());
      text.append(": ").append(line.getValue()).append('\n');
    }
    return text.append('\n').toString();
  }

  private static String escaped(String item) {
    return item.replace("\\", "\\\\").replace(",", "\\,");
  }
}
