package io.xenferry.simulation;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.simulation.ModelTraces.Event;
import io.xenferry.simulation.ModelTraces.Trace;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;

/**
 * Asks the model whether it allows traces. The model is {@code ownership.pml} as it is, but for
 * this: an action that leaves a mark in a trace is possible only where it comes next there; all
 * others are as free as ever. A trace is allowed if some run of the model comes to its end. All
 * traces are looked at in one search.
 */
final class ModelReplay {
  private static final Path MODEL = Path.of("src/test/promela/ownership.pml");

  /** What a trace shows is bounded by it. What it does not show may happen this often. */
  private static final List<String> BOUNDS =
      List.of("CRASHES=250", "OUTAGES=250", "DEATHS=250", "TARGETS=2", "HICCUPS=2", "REFUSALS=2");

  private static final Pattern ACCEPTED = Pattern.compile("(?m)^accepted (\\d+)$");
  private static final Pattern REACHED = Pattern.compile("(?m)^(\\d+) reaches (\\d+)$");

  private final Path directory;

  ModelReplay(Path directory) {
    this.directory = directory;
  }

  /**
   * Those that the model refuses.
   *
   * @return how far each comes: the number of its first events that are allowed
   */
  Map<Trace, Integer> refused(List<Trace> traces) throws Exception {
    Map<Trace, Integer> refused = new LinkedHashMap<>();
    for (boolean halted : new boolean[] {false, true}) {
      List<Trace> some = traces.stream().filter(trace -> trace.halted() == halted).toList();
      if (!some.isEmpty()) {
        refused.putAll(refused(some, halted));
      }
    }
    return refused;
  }

  private Map<Trace, Integer> refused(List<Trace> traces, boolean halted) throws Exception {
    Path here = Files.createTempDirectory(directory, "replay");
    Files.writeString(here.resolve("traces.h"), header(traces));
    Files.writeString(here.resolve("model.pml"), instrumented(Files.readString(MODEL)));
    List<String> definitions = new ArrayList<>(BOUNDS);
    if (halted) {
      definitions.add("HALTED");
    }
    String said = new ModelChecker(here).replay(definitions);
    List<Integer> accepted =
        ACCEPTED.matcher(said).results().map(found -> Integer.valueOf(found.group(1))).toList();
    int[] reached = new int[traces.size()];
    for (MatchResult found : REACHED.matcher(said).results().toList()) {
      int trace = Integer.parseInt(found.group(1));
      reached[trace] = Math.max(reached[trace], Integer.parseInt(found.group(2)));
    }
    Map<Trace, Integer> refused = new LinkedHashMap<>();
    for (int i = 0; i < traces.size(); i++) {
      if (!accepted.contains(i)) {
        refused.put(traces.get(i), reached[i]);
      }
    }
    return refused;
  }

  private static String header(List<Trace> traces) {
    StringBuilder events = new StringBuilder();
    StringBuilder starts = new StringBuilder();
    int at = 0;
    for (Trace trace : traces) {
      starts.append(at).append(',');
      for (Event event : trace.events()) {
        events.append(event.code()).append(',');
      }
      events.append("0,\n");
      at += trace.events().size() + 1;
    }
    return "static const unsigned char EVENTS[] = {\n%s};\n".formatted(events)
        + "static const int STARTS[] = {%s};\n".formatted(starts)
        + "#define TRACES %d\n".formatted(traces.size())
        + "static int furthest[TRACES];\nstatic char accepted[TRACES];\n";
  }

  private static String instrumented(String model) {
    String text =
        once(
            model,
            "#define WORKS(h) (!off[h] && !restored[h])",
            """
            c_decl {
            \\#include "traces.h"
            }
            int which, at;
            #define GOES_ON c_expr { EVENTS[now.at] != 0 && !accepted[now.which] }
            #define NEXT(event) c_expr { EVENTS[now.at] == event }
            #define ON at++; c_code { if (now.at - STARTS[now.which] > furthest[now.which]) { \
            furthest[now.which] = now.at - STARTS[now.which]; \
            printf("%d reaches %d\\n", now.which, furthest[now.which]); } }
            #define WORKS(h) (!off[h] && !restored[h] && GOES_ON)\
            """);
    for (Event event : Event.values()) {
      for (String action : event.actions) {
        boolean host = action.startsWith("f_");
        Pattern option = Pattern.compile("-> " + action + "\\((m|h)\\) }");
        assertThat(option.matcher(text).find()).as("an option with the action " + action).isTrue();
        text =
            option
                .matcher(text)
                .replaceAll(
                    "&& NEXT(%d%s) -> %s($1); ON }"
                        .formatted(event.code(), host ? " + h" : "", action));
      }
    }
    text =
        once(
            text,
            "  do\n  MIGRATION(0)\n",
            """
              do
              :: c_expr { now.which < TRACES - 1 } -> which++
              :: break
              od;
              c_code { now.at = STARTS[now.which]; };
              do
              :: c_expr { EVENTS[now.at] == 0 && !accepted[now.which] } ->
                c_code { accepted[now.which] = 1; printf("accepted %d\\n", now.which); };
                break
              MIGRATION(0)
            """);
    int end = text.indexOf("  PROMISE(everything_ends_and_nothing_is_left");
    assertThat(end).isPositive();
    return text.substring(0, end) + "  skip\n}\n";
  }

  private static String once(String text, String old, String now) {
    assertThat(text).containsOnlyOnce(old);
    return text.replace(old, now);
  }
}
