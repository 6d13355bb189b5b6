package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** {@code docs/reliability.md} names tests that there are, and says truly which are slow. */
class ReliabilityTest {
  private static final Path HOME =
      Path.of(System.getProperty("user.dir")).resolve("..").normalize();

  private static final Pattern NAMED = Pattern.compile("(\\*?)`([A-Z]\\w+Test)#(\\w+)`");

  /** A method with what is written over it, up to the one before. */
  private static final Pattern METHOD =
      Pattern.compile("((?:^  @.*\n(?:^(?:   |  }).*\n)*)+)^  void (\\w+)\\(", Pattern.MULTILINE);

  private static Map<String, Path> tests() throws IOException {
    Map<String, Path> found = new TreeMap<>();
    try (Stream<Path> files = Files.walk(HOME)) {
      files
          .filter(f -> f.toString().contains("/src/test/java/"))
          .filter(f -> f.toString().endsWith("Test.java"))
          .forEach(f -> found.put(f.getFileName().toString().replace(".java", ""), f));
    }
    return found;
  }

  /** Its annotations, with those of the class, by the methods that are tests. */
  private static Map<String, String> methods(Path test) throws IOException {
    Map<String, String> found = new TreeMap<>();
    String text = Files.readString(test);
    String ofTheClass = text.substring(0, text.indexOf("\nclass ") + 1);
    Matcher method = METHOD.matcher(text);
    while (method.find()) {
      if (method.group(1).contains("Test")) {
        found.put(method.group(2), ofTheClass + method.group(1));
      }
    }
    return found;
  }

  @Test
  void everyPromiseNamesATestThatThereIs() throws IOException {
    Map<String, Path> tests = tests();
    List<String> wrong = new ArrayList<>();
    int rows = 0;
    for (String line : Files.readAllLines(HOME.resolve("docs/reliability.md"))) {
      if (!line.startsWith("| ") || line.startsWith("| promise |")) {
        continue;
      }
      rows++;
      Matcher named = NAMED.matcher(line);
      int shown = 0;
      while (named.find()) {
        shown++;
        Path test = tests.get(named.group(2));
        String annotations = test == null ? null : methods(test).get(named.group(3));
        if (annotations == null) {
          wrong.add("there is no test " + named.group());
        } else if (annotations.contains("@Tag(\"slow\")") == named.group(1).isEmpty()) {
          wrong.add(named.group() + " is slow, and not so set, or the other way");
        }
      }
      if (shown == 0) {
        wrong.add("nothing shows: " + line);
      }
    }
    assertThat(wrong).isEmpty();
    assertThat(rows).isGreaterThan(20);
  }
}
