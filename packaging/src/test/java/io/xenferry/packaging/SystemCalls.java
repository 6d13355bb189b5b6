package io.xenferry.packaging;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * What strace wrote ({@code -f -ttt -T -y}), as calls in the order of their beginnings. Traces of
 * several processes of one machine share a clock and can be put together.
 */
record SystemCalls(List<Call> calls) {
  /** What is looked at: everything that makes something durable, or that others can see. */
  static final String TRACED =
      "trace=fdatasync,fsync,write,pwrite64,writev,sendto,sendmsg,openat,unlink,unlinkat,execve,kill";

  private static final Pattern WHOLE =
      Pattern.compile("^(\\d+) +(\\d+\\.\\d+) (\\w+)\\((.*)\\) += (-?\\w+).*?<(\\d+\\.\\d+)>$");

  private static final Pattern BEGUN =
      Pattern.compile("^(\\d+) +(\\d+\\.\\d+) (\\w+)\\((.*?) *<unfinished \\.\\.\\.>$");

  private static final Pattern RESUMED =
      Pattern.compile("^(\\d+) +(\\d+\\.\\d+) <\\.\\.\\. (\\w+) resumed>(.*)$");

  /**
   * One call.
   *
   * @param site whose process made it
   * @param thread its thread
   * @param began seconds
   * @param ended seconds; infinite where the trace ends before it
   * @param text its arguments as strace shows them
   */
  record Call(String site, long thread, double began, double ended, String name, String text) {
    boolean syncs(String file) {
      return (name.equals("fdatasync") || name.equals("fsync")) && text.contains(file);
    }

    boolean writes() {
      return name.contains("write") || name.startsWith("send");
    }

    @Override
    public String toString() {
      return String.format(
          "%s %d %.6f-%.6f %s(%s)",
          site, thread, began, ended, name, text.substring(0, Math.min(160, text.length())));
    }
  }

  static SystemCalls read(String site, Path trace) throws IOException {
    try (Stream<String> lines = Files.lines(trace, StandardCharsets.ISO_8859_1)) {
      return parse(site, lines.toList());
    }
  }

  static SystemCalls parse(String site, List<String> lines) {
    List<Call> calls = new ArrayList<>();
    Map<Long, Call> open = new HashMap<>();
    for (String line : lines) {
      Matcher whole = WHOLE.matcher(line);
      Matcher begun = BEGUN.matcher(line);
      Matcher resumed = RESUMED.matcher(line);
      if (whole.matches()) {
        double began = Double.parseDouble(whole.group(2));
        calls.add(
            new Call(
                site,
                Long.parseLong(whole.group(1)),
                began,
                began + Double.parseDouble(whole.group(6)),
                whole.group(3),
                whole.group(4)));
      } else if (begun.matches()) {
        long thread = Long.parseLong(begun.group(1));
        open.put(
            thread,
            new Call(
                site,
                thread,
                Double.parseDouble(begun.group(2)),
                Double.POSITIVE_INFINITY,
                begun.group(3),
                begun.group(4)));
      } else if (resumed.matches()) {
        Call call = open.remove(Long.parseLong(resumed.group(1)));
        if (call != null) {
          calls.add(
              new Call(
                  site,
                  call.thread(),
                  call.began(),
                  Double.parseDouble(resumed.group(2)),
                  call.name(),
                  call.text() + resumed.group(4)));
        }
      }
    }
    calls.addAll(open.values());
    calls.sort(Comparator.comparingDouble(Call::began));
    return new SystemCalls(List.copyOf(calls));
  }

  SystemCalls and(SystemCalls other) {
    List<Call> all = new ArrayList<>(calls);
    all.addAll(other.calls);
    all.sort(Comparator.comparingDouble(Call::began));
    return new SystemCalls(List.copyOf(all));
  }

  Optional<Call> first(Predicate<Call> wanted) {
    return calls.stream().filter(wanted).findFirst();
  }

  /**
   * The first write of a record into a file, with the sync of that file by the same thread that
   * follows it.
   */
  Durable durable(String what, String site, String file, String record) {
    Pattern content = Pattern.compile(record);
    Call write =
        first(c ->
                c.site().equals(site)
                    && c.writes()
                    && c.text().contains(file)
                    && content.matcher(c.text()).find())
            .orElseThrow(() -> new AssertionError(what + " was not written at " + site));
    Call sync =
        first(c ->
                c.site().equals(site)
                    && c.thread() == write.thread()
                    && c.began() >= write.began()
                    && c.syncs(file))
            .orElseThrow(() -> new AssertionError(what + " was not synced at " + site));
    return new Durable(what, write, sync);
  }

  /** A record that was written, and then synced. */
  record Durable(String what, Call write, Call sync) {
    /** The effect began only when the record was on stable storage. */
    void precedes(String effect, Optional<Call> call) {
      Call seen = call.orElseThrow(() -> new AssertionError(effect + " was not seen"));
      if (seen.began() < sync.ended()) {
        throw new AssertionError(
            effect + " before " + what + " was durable:\n  " + seen + "\n  " + sync);
      }
    }
  }
}
