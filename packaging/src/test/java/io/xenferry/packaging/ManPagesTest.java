package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.xenferry.bench.BenchCommand;
import io.xenferry.fuzz.FuzzCommand;
import io.xenferry.server.ServerMain;
import io.xenferry.server.migration.Decorators;
import io.xenferry.simulation.SimulateCommand;
import io.xenferry.xe.client.Xe;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import picocli.CommandLine;

/** The manual pages name every option that there is, and none that there is not. */
class ManPagesTest {
  private static final Path HOME =
      Path.of(System.getProperty("user.dir")).resolve("..").normalize();
  private static final Path PAGES = HOME.resolve("packaging/src/main/man");

  /** After a blank or a bracket, so that a dash within a name is none. */
  private static final Pattern OPTION = Pattern.compile("(?<![\\w-])--?[a-z][a-z-]*");

  static Stream<Arguments> commands() {
    return Stream.of(
        Arguments.of("xenferry-demo.1", new CommandLine(new DemoCommand())),
        Arguments.of("xenferry-server.8", new CommandLine(new ServerMain(Decorators.none()))),
        Arguments.of("xenferry-bench.1", new CommandLine(new BenchCommand())),
        Arguments.of("xenferry-fuzz.1", new CommandLine(new FuzzCommand())),
        Arguments.of("xenferry-simulate.1", new CommandLine(new SimulateCommand())));
  }

  @ParameterizedTest
  @MethodSource("commands")
  void aPageHasTheOptionsOfItsCommand(String page, CommandLine command) throws IOException {
    Set<String> there = new HashSet<>();
    collect(command, there);
    Set<String> told = new HashSet<>();
    // Headings of the list of options; elsewhere options of other programs are mentioned.
    Matcher m = Pattern.compile("\\.TP\\n(\\.B.*)").matcher(text(page));
    while (m.find()) {
      Matcher option =
          Pattern.compile("(?<![\\w-])--[a-z-]+|(?<![\\w-])-[A-Za-z](?![\\w-])")
              .matcher(m.group(1));
      while (option.find()) {
        told.add(option.group());
      }
    }
    assertThat(told).isEqualTo(there);
  }

  private static void collect(CommandLine command, Set<String> options) {
    command.getCommandSpec().options().forEach(o -> options.addAll(List.of(o.names())));
    command.getSubcommands().values().forEach(sub -> collect(sub, options));
  }

  @Test
  void thePageOfXeHasItsOptionsAndThoseOfVmMigrate() throws IOException {
    ByteArrayOutputStream usage = new ByteArrayOutputStream();
    new Xe(Map.of(), InputStream.nullInputStream(), usage, usage).run(List.of("--help"));
    String page = text("xe.1");
    Matcher options = OPTION.matcher(usage.toString(StandardCharsets.UTF_8));
    int found = 0;
    while (options.find()) {
      assertThat(page).contains(options.group());
      found++;
    }
    assertThat(found).isGreaterThanOrEqualTo(8);
    String commands;
    try (InputStream in = io.xenferry.cli.CliSession.class.getResourceAsStream("commands.txt")) {
      commands = new String(in.readAllBytes(), StandardCharsets.UTF_8);
    }
    Matcher takes = Pattern.compile("(?m)^vm-migrate takes=(\\S+)").matcher(commands);
    assertThat(takes.find()).isTrue();
    assertThat(page).contains(takes.group(1).split(","));
  }

  @Test
  void thePageOfTheDoorHasItsCommands() throws Exception {
    String page = text("xenferry.1");
    Matcher command =
        Pattern.compile("(?m)^  ([a-z]+) +[a-z]").matcher(output("./xenferry", "--help"));
    List<String> commands = new ArrayList<>();
    while (command.find()) {
      commands.add(command.group(1));
      assertThat(page).contains(".B " + command.group(1) + "\n");
    }
    assertThat(commands).contains("demo", "test", "server", "xe", "bench", "simulate");
    Matcher option = OPTION.matcher(output("./xenferry", "test", "--help"));
    while (option.find()) {
      assertThat(page).contains(option.group());
    }
  }

  @Test
  void thePagesAreWellFormed() throws Exception {
    boolean groff =
        Stream.of(System.getenv("PATH").split(":"))
            .anyMatch(dir -> Files.isExecutable(Path.of(dir, "groff")));
    if (!"true".equals(System.getenv("XENFERRY_REQUIRE_TOOLS"))) {
      assumeTrue(groff, "groff is not installed");
    }
    assertThat(groff).as("groff is installed").isTrue();
    try (Stream<Path> pages = Files.list(PAGES)) {
      for (Path page : pages.toList()) {
        assertThat(output("groff", "-man", "-z", "-ww", page.toString())).as("%s", page).isEmpty();
      }
    }
  }

  /** A page with its escapes undone. */
  private static String text(String page) throws IOException {
    return Files.readString(PAGES.resolve(page)).replace("\\-", "-").replaceAll("\\\\f[A-Z]", "");
  }

  private static String output(String... command) throws Exception {
    Process process =
        new ProcessBuilder(command).directory(HOME.toFile()).redirectErrorStream(true).start();
    try {
      String text = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
      return text;
    } finally {
      process.destroyForcibly();
    }
  }
}
