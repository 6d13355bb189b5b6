package io.xenferry.server.audit;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Lines in files of bounded size and number. */
class AuditLogTest {
  @TempDir Path directory;

  private AuditLog open() throws IOException {
    return new AuditLog(directory, 100, 3, lost -> lost + " lost");
  }

  private static List<String> lines(AuditLog log) throws IOException {
    try (InputStream in = log.read()) {
      return new String(in.readAllBytes(), StandardCharsets.UTF_8).lines().toList();
    }
  }

  @Test
  void theOldestFileGoes() throws Exception {
    try (AuditLog log = open()) {
      assertThat(lines(log)).isEmpty();
      for (int i = 0; i < 100; i++) {
        log.append("%09d".formatted(i)); // ten a file
      }
      assertThat(lines(log))
          .containsExactlyElementsOf(IntStream.range(70, 100).mapToObj("%09d"::formatted).toList());
      try (var files = Files.list(directory)) {
        assertThat(files).hasSize(3).allMatch(file -> file.toFile().length() == 100);
      }
      log.append("x".repeat(300));
      assertThat(lines(log)).last().isEqualTo("x".repeat(300));
    }
  }

  @Test
  void whatIsReadStaysWhileItIsRead() throws Exception {
    try (AuditLog log = open()) {
      log.append("first");
      try (InputStream in = log.read()) {
        for (int i = 0; i < 100; i++) {
          log.append("%09d".formatted(i));
        }
        assertThat(in.readAllBytes()).asString(StandardCharsets.UTF_8).isEqualTo("first\n");
      }
    }
  }

  @Test
  void aServerGoesOnBehindHalfALine() throws Exception {
    try (AuditLog log = open()) {
      log.append("whole");
    }
    Files.writeString(directory.resolve("audit.log"), "whole\nhal");
    try (AuditLog log = open()) {
      log.append("next");
      assertThat(lines(log)).containsExactly("whole", "hal", "next");
    }
  }

  @Test
  void whatCannotBeWrittenIsCounted() throws Exception {
    try (AuditLog log = open()) {
      Files.createDirectory(directory.resolve("audit.log")); // nothing can be written into it
      log.append("a");
      log.append("b");
      Files.delete(directory.resolve("audit.log"));
      log.append("c");
      assertThat(lines(log)).containsExactly("2 lost", "c");
    }
  }

  @Test
  void aThreadThatIsInterruptedWritesAllTheSame() throws Exception {
    try (AuditLog log = open()) {
      Thread.currentThread().interrupt();
      log.append("a");
      assertThat(Thread.interrupted()).isTrue();
      log.append("b");
      assertThat(lines(log)).containsExactly("a", "b");
    }
  }
}
