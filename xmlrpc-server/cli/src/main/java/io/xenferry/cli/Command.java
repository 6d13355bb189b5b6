package io.xenferry.cli;

import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * A command of xe.
 *
 * @param needs parameters without which it does not start
 * @param takes further parameters, a map where a colon ends it
 * @param reads parameters that it takes without saying so
 * @param selects the class whose objects are chosen by their fields, or the empty string
 * @param flags letters as in {@code commands.txt}
 * @param handler absent for a command that is known and not built
 */
record Command(
    String name,
    List<String> needs,
    List<String> takes,
    List<String> reads,
    String selects,
    String flags,
    Optional<Handler> handler) {

  /** What a command does. */
  interface Handler {
    void run(Run run) throws XenApiException, CliException, IOException;
  }

  static Command generated(String name, List<String> needs, List<String> takes, Handler handler) {
    return new Command(name, needs, takes, List.of(), "", "", Optional.of(handler));
  }

  /** Reads a line of {@code commands.txt}; the call it names, if any, is in {@code call}. */
  static Command parse(String line, Map<String, String> call) {
    String[] words = line.split(" ");
    Map<String, String> options = new LinkedHashMap<>();
    for (int i = 1; i < words.length; i++) {
      int eq = words[i].indexOf('=');
      options.put(words[i].substring(0, eq), words[i].substring(eq + 1));
    }
    String method = options.get("call");
    if (method != null) {
      call.put(words[0], method);
    }
    return new Command(
        words[0],
        list(options, "needs"),
        list(options, "takes"),
        list(options, "reads"),
        options.getOrDefault("selects", ""),
        options.getOrDefault("is", ""),
        Optional.empty());
  }

  private static List<String> list(Map<String, String> options, String key) {
    String text = options.get(key);
    return text == null ? List.of() : List.of(text.split(","));
  }

  Command doing(Handler what) {
    return new Command(name, needs, takes, reads, selects, flags, Optional.of(what));
  }

  boolean hidden() {
    return flags.contains("H");
  }

  boolean standard() {
    return flags.contains("S");
  }

  boolean neverForwarded() {
    return flags.contains("N");
  }

  /** Names of its own parameters, which are no filters. */
  Set<String> own() {
    Set<String> own = new HashSet<>(reads);
    own.addAll(needs);
    for (String taken : takes) {
      own.add(taken.endsWith(":") ? taken.substring(0, taken.length() - 1) : taken);
    }
    return own;
  }
}
