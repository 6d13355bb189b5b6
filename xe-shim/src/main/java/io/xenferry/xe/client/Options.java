package io.xenferry.xe.client;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/**
 * What the client keeps for itself, and the arguments that go to the server as they are.
 *
 * <p>A setting is taken from the command line, else from {@code XE_EXTRA_ARGS}, else from {@code
 * ~/.xe}, else its default.
 *
 * @param warning what the user should know of a source that was left out
 */
record Options(
    Optional<String> server,
    Optional<Integer> port,
    String user,
    String password,
    boolean ssl,
    boolean debug,
    boolean debugOnFail,
    Optional<String> traceparent,
    Optional<String> baggage,
    List<String> arguments,
    Optional<String> warning) {

  /** Reads all sources. */
  static Options read(List<String> commandLine, Map<String, String> environment)
      throws ClientException {
    Collector settings = new Collector();
    String home = environment.get("HOME");
    if (home != null && !home.isEmpty()) {
      settings.file(Path.of(home, ".xe"));
    }
    List<String> extra = new ArrayList<>();
    settings.words(
        splitExtra(
            ExactArguments.variable(
                "XE_EXTRA_ARGS", environment.getOrDefault("XE_EXTRA_ARGS", ""))),
        extra);
    List<String> arguments = new ArrayList<>();
    settings.words(commandLine, arguments);
    arguments.addAll(extra);
    arguments.addAll(settings.unknownOfFile);
    return settings.options(arguments, environment);
  }

  /** Splits at commas; {@code \,} is a comma, and every backslash is dropped. */
  static List<String> splitExtra(String text) {
    List<String> words = new ArrayList<>();
    StringBuilder word = new StringBuilder();
    boolean escaped = false;
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      if (c == ',' && !escaped) {
        words.add(word.toString());
        word.setLength(0);
      } else if (c != '\\') {
        word.append(c);
      }
      escaped = c == '\\';
    }
    words.add(word.toString());
    words.removeIf(String::isEmpty);
    return words;
  }

  /** Settings as they are found; what is found later counts. */
  private static final class Collector {
    private Optional<String> server = Optional.empty();
    private Optional<Integer> port = Optional.empty();
    private String user = "root";
    private String password = "null";
    private boolean ssl = true;
    private boolean debug;
    private boolean debugOnFail;
    private Optional<String> traceparent = Optional.empty();
    private final List<String> unknownOfFile = new ArrayList<>();
    private Optional<String> complaint = Optional.empty();

    Options options(List<String> arguments, Map<String, String> environment) {
      return new Options(
          server,
          port,
          user,
          password,
          ssl,
          debug,
          debugOnFail,
          traceparent.or(() -> Optional.ofNullable(environment.get("TRACEPARENT"))),
          Optional.ofNullable(environment.get("BAGGAGE")),
          List.copyOf(arguments),
          complaint);
    }

    void file(Path file) throws ClientException {
      if (!Files.isRegularFile(file)) {
        return;
      }
      List<String> lines;
      try {
        lines = Files.readAllLines(file);
      } catch (IOException e) {
        complaint = Optional.of("Warning: " + file + " cannot be read and is ignored");
        return;
      }
      lines = lines.stream().filter(line -> !line.isBlank()).toList();
      for (String line : lines) {
        if (line.indexOf('=') < 0) {
          complaint = Optional.of("Warning: " + file + " has a line without '=' and is ignored");
          return;
        }
      }
      for (String line : lines) {
        if (!keyword(line)) {
          unknownOfFile.add(line);
        }
      }
    }

    void words(List<String> words, List<String> rest) throws ClientException {
      for (int i = 0; i < words.size(); i++) {
        String word = words.get(i);
        switch (word) {
          case "--nossl" -> ssl = false;
          case "--debug" -> debug = true;
          case "--debug-on-fail" -> debugOnFail = true;
          case "-s", "-h", "-p", "-u", "-pw", "-pwf", "--traceparent" -> {
            if (++i == words.size()) {
              throw ClientException.failedWithUsage("Option " + word + " needs a value.");
            }
            set(longName(word), words.get(i));
          }
          default -> {
            if (!keyword(word)) {
              rest.add(word);
            }
          }
        }
      }
    }

    private static String longName(String option) {
      return switch (option) {
        case "-s", "-h" -> "server";
        case "-p" -> "port";
        case "-u" -> "username";
        case "-pw" -> "password";
        case "-pwf" -> "passwordfile";
        default -> "traceparent";
      };
    }

    private boolean keyword(String word) throws ClientException {
      int eq = word.indexOf('=');
      return eq > 0 && set(word.substring(0, eq), word.substring(eq + 1));
    }

    /** Takes a setting of this name, or says that there is none. */
    private boolean set(String name, String value) throws ClientException {
      switch (name) {
        case "server" -> server = value.isEmpty() ? Optional.empty() : Optional.of(value);
        case "port" -> port = Optional.of(portNumber(value));
        case "username" -> user = value;
        case "password" -> password = value;
        case "passwordfile" -> passwordFile(value);
        case "nossl" -> ssl = !truth(value);
        case "debug" -> debug = truth(value);
        case "debugonfail" -> debugOnFail = truth(value);
        case "traceparent" -> traceparent = Optional.of(value);
        default -> {
          return false;
        }
      }
      return true;
    }

    private static boolean truth(String value) {
      return switch (value.toLowerCase(Locale.ROOT)) {
        case "true", "t", "yes", "y", "1" -> true;
        default -> false;
      };
    }

    private static int portNumber(String value) throws ClientException {
      try {
        int port = Integer.parseInt(value);
        if (port >= 0 && port <= 65535) {
          return port;
        }
      } catch (NumberFormatException e) {
        // Falls through to the same complaint as a number out of range.
      }
      throw ClientException.usage("Not a port: " + value);
    }

    private void passwordFile(String file) throws ClientException {
      try {
        List<String> lines = Files.readAllLines(Path.of(file));
        if (lines.size() < 2) {
          throw ClientException.failed(
              "The password file must hold the user name and the password, a line each: " + file);
        }
        user = lines.get(0);
        password = lines.get(1);
      } catch (IOException | InvalidPathException e) {
        throw ClientException.failed("The password file cannot be read: " + file);
      }
    }
  }
}
