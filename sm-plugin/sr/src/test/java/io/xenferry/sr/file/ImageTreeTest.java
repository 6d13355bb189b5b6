package io.xenferry.sr.file;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.sr.AtomicFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What a killed server has left of images. */
class ImageTreeTest {
  private static final String IMAGE = "68178753-3d34-454c-9638-7ae1d8766b2c";

  @TempDir Path directory;

  private Path cutShort(String state) throws IOException {
    AtomicFile.write(directory.resolve(ImageTree.FILE), Map.of("image." + IMAGE, state));
    return Files.write(directory.resolve(IMAGE + ".qcow2"), new byte[] {'Q', 'F', 'I'});
  }

  @ParameterizedTest
  @ValueSource(strings = {"making", "dropping"})
  void anImageThatWasBeingMadeOrRemovedGoesHoweverLittleOfItThereIs(String state)
      throws IOException {
    Path file = cutShort(state);
    assertThat(ImageTree.open(directory).images()).isEmpty();
    assertThat(file).doesNotExist();
    assertThat(AtomicFile.read(directory.resolve(ImageTree.FILE))).isEmpty();
  }

  /** What somebody's disk may rest on is not guessed at. */
  @Test
  void anImageOfSomebodysThatCannotBeReadKeepsTheRepositoryShut() throws IOException {
    Path file = cutShort("ready");
    assertThatThrownBy(() -> ImageTree.open(directory))
        .isInstanceOf(IOException.class)
        .hasMessageContaining(file + " is cut short");
    assertThat(file).hasSize(3);
  }
}
