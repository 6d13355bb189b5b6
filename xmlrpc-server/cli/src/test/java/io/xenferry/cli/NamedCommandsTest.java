package io.xenferry.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** What the documents, the manual pages and the server's own words tell people to type exists. */
class NamedCommandsTest {
  private static final Path HOME =
      Path.of(System.getProperty("user.dir")).resolve("../..").normalize();

  /**
   * {@code xe}, its options, a command, in backquotes or not. What begins a cell of a table is the
   * row's name, as in the benchmarks.
   */
  private static final Pattern NAMED =
      Pattern.compile(
          "(?<![\\w./-])(?<!\\| )xe`?(?: -[a-z]+ [^ ]+)* +`?([a-z]+(?:-[a-z0-9]+)+)(?![\\w-])");

  @Test
  void everyCommandThatIsNamedSomewhereIsBuilt() throws IOException {
    List<String> missing = new ArrayList<>();
    int found = 0;
    for (Path file : files()) {
      Matcher named = NAMED.matcher(Files.readString(file).replace("\\-", "-"));
      while (named.find()) {
        found++;
        Optional<Command> command = Commands.named(named.group(1));
        if (command.flatMap(Command::handler).isEmpty()) {
          missing.add(HOME.relativize(file) + ": xe " + named.group(1));
        }
      }
    }
    assertThat(missing).isEmpty();
    assertThat(found).as("what is named at all").isGreaterThan(60);
  }

  private static List<Path> files() throws IOException {
    List<Path> files = new ArrayList<>(List.of(HOME.resolve("README.md")));
    for (String folder : List.of("docs", "packaging/src/main/man", "xmlrpc-server")) {
      try (Stream<Path> all = Files.walk(HOME.resolve(folder))) {
        all.filter(Files::isRegularFile)
            .filter(file -> file.toString().matches(".*(\\.md|\\.[18]|/src/main/.*\\.java)"))
            .forEach(files::add);
      }
    }
    return files;
  }
}
