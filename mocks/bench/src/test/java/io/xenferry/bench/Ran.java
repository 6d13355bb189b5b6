package io.xenferry.bench;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import picocli.CommandLine;

/**
 * What came of a benchmark that was run within this process.
 *
 * @param output what it printed
 */
public record Ran(int exit, String output) {

  public static Ran bench(String... arguments) {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    PrintStream before = System.out;
    try {
      System.setOut(new PrintStream(bytes, true, StandardCharsets.UTF_8));
      int exit = new CommandLine(new BenchCommand()).execute(arguments);
      return new Ran(exit, bytes.toString(StandardCharsets.UTF_8));
    } finally {
      System.setOut(before);
    }
  }
}
