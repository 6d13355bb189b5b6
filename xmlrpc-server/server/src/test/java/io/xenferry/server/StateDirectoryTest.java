package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class StateDirectoryTest {
  @TempDir private Path temporary;

  private static String mode(Path directory) throws IOException {
    return PosixFilePermissions.toString(Files.getPosixFilePermissions(directory));
  }

  private Path directory(String... files) throws IOException {
    Path directory = Files.createDirectory(temporary.resolve("state"));
    Files.setPosixFilePermissions(directory, PosixFilePermissions.fromString("rwxr-xr-x"));
    for (String file : files) {
      Files.createFile(directory.resolve(file));
    }
    return directory;
  }

  @Test
  void aNewOneIsMade() throws Exception {
    Path directory = temporary.resolve("new/state");
    StateDirectory.prepare(directory);
    assertThat(mode(directory)).isEqualTo("rwx------");
  }

  @Test
  void anEmptyOneIsTaken() throws Exception {
    Path directory = directory("lost+found");
    StateDirectory.prepare(directory);
    assertThat(mode(directory)).isEqualTo("rwx------");
  }

  @Test
  void oneOfAServerIsTakenWhateverElseIsThere() throws Exception {
    Path directory = directory("pool.db", "notes of the administrator");
    StateDirectory.prepare(directory);
    assertThat(mode(directory)).isEqualTo("rwx------");
  }

  @Test
  void aFirstStartThatWasInterruptedIsNoHindrance() throws Exception {
    Path directory = directory("lock", "tmp", "server.p12");
    StateDirectory.prepare(directory);
    assertThat(mode(directory)).isEqualTo("rwx------");
  }

  @Test
  void somebodyElsesIsRefusedAndLeftAsItIs() throws Exception {
    Path directory = directory("tmp", "precious");
    assertThatThrownBy(() -> StateDirectory.prepare(directory))
        .isInstanceOf(IOException.class)
        .hasMessageContainingAll(directory.toString(), "precious");
    assertThat(mode(directory)).isEqualTo("rwxr-xr-x");
  }

  @Test
  void aFileIsNoDirectory() throws Exception {
    Path file = Files.createFile(temporary.resolve("file"));
    assertThatThrownBy(() -> StateDirectory.prepare(file))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("no directory");
  }
}
