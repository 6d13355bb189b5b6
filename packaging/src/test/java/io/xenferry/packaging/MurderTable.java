package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * What the runs have seen, and the table of the manual that is made of it. With {@code
 * -Dmurder.record=true} a run adds to it; otherwise it must come out as it is recorded, and what is
 * not recorded is printed.
 */
final class MurderTable {
  private static final Path HOME =
      Path.of(System.getProperty("user.dir")).resolve("..").normalize();

  private static final Path RECORDED = HOME.resolve("packaging/src/test/data/murder.tsv");

  static final Path MANUAL = HOME.resolve("docs/murder.md");

  private static final String BEGIN = "<!-- made by the run: begin -->\n";
  private static final String END = "<!-- made by the run: end -->\n";

  private MurderTable() {}

  /** One line of what was recorded. */
  record Line(Crash crash, String source, String destination, String seen, String end) {
    static Line parse(String text) {
      String[] words = text.split("\t", -1);
      return new Line(Crash.valueOf(words[0]), words[1], words[2], words[3], words[4]);
    }

    String text() {
      return String.join("\t", crash.name(), source, destination, seen, end);
    }

    Where where() {
      return new Where(crash, source, destination);
    }
  }

  /** A row of the table. */
  record Where(Crash crash, String source, String destination) {}

  /**
   * @param moved whether the VM has moved in the end
   * @param certain whether that could not have been otherwise
   */
  static synchronized void note(Sighting sighting, boolean moved, boolean certain)
      throws IOException {
    Line line =
        new Line(
            sighting.crash(),
            sighting.source(),
            sighting.destination(),
            sighting.seen(),
            moved ? "moved" : "stayed");
    Set<String> lines = new TreeSet<>();
    recorded().forEach(known -> lines.add(known.text()));
    if (Boolean.getBoolean("murder.record")) {
      if (lines.add(line.text())) {
        Files.createDirectories(RECORDED.getParent());
        Files.write(RECORDED, lines);
      }
      return;
    }
    List<Line> same = recorded().stream().filter(l -> l.where().equals(line.where())).toList();
    if (same.isEmpty() || !certain) {
      // It depends on who is quicker.
      if (same.stream().noneMatch(known -> known.end().equals(line.end()))) {
        System.out.println("not in the table of the manual: " + line);
      }
      return;
    }
    assertThat(same)
        .as("%s: what is recorded of it; -Dmurder.record=true adds what a run sees", line)
        .anyMatch(known -> known.end().equals(line.end()));
  }

  static List<Line> recorded() throws IOException {
    if (!Files.exists(RECORDED)) {
      return List.of();
    }
    return Files.readAllLines(RECORDED).stream().map(Line::parse).toList();
  }

  /** The table as the manual has to have it. */
  static String rendered() throws IOException {
    Map<Crash, Map<Where, List<Line>>> tables = new TreeMap<>();
    for (Line line : recorded()) {
      tables
          .computeIfAbsent(line.crash(), any -> new TreeMap<>(order()))
          .computeIfAbsent(line.where(), any -> new ArrayList<>())
          .add(line);
    }
    StringBuilder text = new StringBuilder();
    tables.forEach((crash, rows) -> {
      text.append("### ").append(crash.words()).append("\n\n");
      text.append(crash.remedy()).append("\n\n");
      text.append("| source | destination | what you see meanwhile | how it ends |\n");
      text.append("|---|---|---|---|\n");
      rows.forEach((where, lines) -> {
        Set<String> seen = new TreeSet<>();
        Set<String> ends = new TreeSet<>();
        lines.forEach(line -> {
          seen.add(line.seen());
          ends.add(line.end());
        });
        text.append("| ")
            .append(where.source())
            .append(" | ")
            .append(where.destination())
            .append(" | ")
            .append(String.join("; or ", seen))
            .append(" | ")
            .append(String.join(" or ", ends))
            .append(" |\n");
      });
      text.append('\n');
    });
    return text.toString();
  }

  /** As a move goes. */
  private static Comparator<Where> order() {
    List<String> states =
        List.of(
            "–",
            "SENDING",
            "SWITCHING",
            "COMMITTING",
            "GIVEN",
            "OWNED",
            "RECEIVING",
            "READY",
            "COMMITTED",
            "STARTING",
            "RUNNING",
            "ABORTED",
            "RETURNED");
    return Comparator.comparingInt((Where w) -> states.indexOf(w.source()))
        .thenComparingInt(w -> states.indexOf(w.destination()));
  }

  /** The part of the manual that is made. */
  static String inManual() throws IOException {
    String manual = Files.readString(MANUAL);
    return manual.substring(manual.indexOf(BEGIN) + BEGIN.length(), manual.indexOf(END));
  }

  /** Puts the table into the manual. */
  static void write() throws IOException {
    String manual = Files.readString(MANUAL);
    Files.writeString(
        MANUAL,
        manual.substring(0, manual.indexOf(BEGIN) + BEGIN.length())
            + rendered()
            + manual.substring(manual.indexOf(END)));
  }
}
