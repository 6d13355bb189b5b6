package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/** What a move may leave at neither site. */
final class Exports {
  private Exports() {}

  /** Whoever owns the VM: no export is left after a move, and no dirty log. */
  static void assertNone(Site site) throws Exception {
    Path state = site.stateDirectory();
    assertThat(entries(state.resolve("exports"))).as("exports of " + site.name()).isEmpty();
    assertThat(entries(state.resolve("nbds"))).as("exports of " + site.name()).isEmpty();
    assertThat(entries(state.resolve("dirty"))).as("dirty logs of " + site.name()).isEmpty();
    TargetDaemon.assertIdle(site);
    assertThat(DiskFiles.views(site)).as("views of " + site.name()).isEmpty();
  }

  private static List<Path> entries(Path directory) throws IOException {
    if (!Files.isDirectory(directory)) {
      return List.of();
    }
    try (Stream<Path> files = Files.list(directory)) {
      return files.toList();
    }
  }
}
