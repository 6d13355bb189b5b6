package io.xenferry.cli;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;

/**
 * A command line taken apart: the command and its parameters in order. Of a name given twice the
 * first counts, except for maps, where all do.
 */
record Arguments(Optional<String> session, String command, List<Map.Entry<String, String>> all) {

  /**
   * Takes the items of a request apart.
   *
   * @throws CliException SYNTAX
   */
  static Arguments parse(List<String> items) throws CliException {
    List<String> rest = items;
    Optional<String> session = Optional.empty();
    if (!rest.isEmpty() && rest.getFirst().startsWith("session_id=")) {
      session = Optional.of(rest.getFirst().substring("session_id=".length()));
      rest = rest.subList(1, rest.size());
    }
    if (rest.isEmpty() || rest.getFirst().isEmpty()) {
      throw new CliException(CliException.Kind.SYNTAX, "a command is missing");
    }
    String command = rest.getFirst();
    if (command.indexOf('=') >= 0) {
      throw new CliException(CliException.Kind.SYNTAX, command);
    }
    List<Map.Entry<String, String>> all = new ArrayList<>();
    for (int i = 1; i < rest.size(); i++) {
      String item = rest.get(i);
      if (item.startsWith("--")) {
        all.add(Map.entry(item.substring(2), "true"));
      } else if (item.startsWith("-")) {
        String name = oldSwitch(item);
        if (++i == rest.size()) {
          throw new CliException(CliException.Kind.SYNTAX, item);
        }
        all.add(Map.entry(name, rest.get(i)));
      } else {
        int eq = item.indexOf('=');
        all.add(
            eq < 0
                ? Map.entry(item, "")
                : Map.entry(item.substring(0, eq), item.substring(eq + 1)));
      }
    }
    return new Arguments(session, command, List.copyOf(all));
  }

  private static String oldSwitch(String item) throws CliException {
    return switch (item) {
      case "-u" -> "username";
      case "-pw" -> "password";
      case "-s", "-h" -> "server";
      case "-p" -> "port";
      default -> throw new CliException(CliException.Kind.SYNTAX, item);
    };
  }

  Optional<String> get(String name) {
    for (Map.Entry<String, String> e : all) {
      if (e.getKey().equals(name)) {
        return Optional.of(e.getValue());
      }
    }
    return Optional.empty();
  }

  String get(String name, String otherwise) {
    return get(name).orElse(otherwise);
  }

  String need(String name) throws CliException {
    return get(name).orElseThrow(() -> CliException.required(name));
  }

  boolean has(String name) {
    return get(name).isPresent();
  }

  /** A switch: absent is false. */
  boolean flag(String name) throws CliException {
    return flag(name, false);
  }

  boolean flag(String name, boolean otherwise) throws CliException {
    Optional<String> value = get(name);
    return value.isEmpty() ? otherwise : truth(name, value.get());
  }

  static boolean truth(String name, String value) throws CliException {
    return switch (value.toLowerCase(Locale.ROOT)) {
      case "true", "t", "yes", "y", "1" -> true;
      case "false", "f", "no", "n", "0" -> false;
      default ->
          throw CliException.failed(
              "Parameter '%s' takes true or false, not '%s'".formatted(name, value));
    };
  }

  /** A size in bytes: an integer and a unit, each a power of 1024. */
  Optional<Long> size(String name) throws CliException {
    Optional<String> value = get(name);
    return value.isEmpty() ? Optional.empty() : Optional.of(size(name, value.get()));
  }

  static long size(String name, String text) throws CliException {
    String value = text.strip().toLowerCase(Locale.ROOT);
    int digits = 0;
    while (digits < value.length() && Character.isDigit(value.charAt(digits))) {
      digits++;
    }
    int shift =
        switch (value.substring(digits).strip()) {
          case "", "b", "bytes" -> 0;
          case "k", "kb", "kib" -> 10;
          case "m", "mb", "mib" -> 20;
          case "g", "gb", "gib" -> 30;
          case "t", "tb", "tib" -> 40;
          default -> -1;
        };
    try {
      if (shift >= 0 && digits > 0) {
        return Math.multiplyExact(Long.parseLong(value.substring(0, digits)), 1L << shift);
      }
    } catch (ArithmeticException | NumberFormatException e) {
      // Falls through to the complaint about what is no size at all.
    }
    throw CliException.failed(
        "Parameter '%s' takes a size such as 512MiB, not '%s'".formatted(name, text));
  }

  /** All {@code name:key=value}, and the old form {@code name-key=value}. */
  SequencedMap<String, String> map(String name) {
    SequencedMap<String, String> map = new LinkedHashMap<>();
    for (Map.Entry<String, String> e : all) {
      String key = e.getKey();
      if (key.length() > name.length() + 1
          && key.startsWith(name)
          && (key.charAt(name.length()) == ':' || key.charAt(name.length()) == '-')) {
        map.putIfAbsent(key.substring(name.length() + 1), e.getValue());
      }
    }
    return map;
  }

  /** The same with names replaced, for parameters that have several. */
  Arguments renamed(Map<String, String> names) {
    return new Arguments(
        session,
        command,
        all.stream()
            .map(e -> Map.entry(names.getOrDefault(e.getKey(), e.getKey()), e.getValue()))
            .toList());
  }
}
