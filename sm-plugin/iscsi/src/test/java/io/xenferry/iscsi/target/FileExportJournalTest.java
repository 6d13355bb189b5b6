package io.xenferry.iscsi.target;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Entries have secrets in them: half of one is left by nothing. */
class FileExportJournalTest {
  private static final String IQN = "iqn.2026-01.io.xenferry:disk";

  @TempDir private Path directory;

  private static Export export(Path file) {
    return new Export(
        IQN,
        1,
        new Export.Backing.File(file),
        "id",
        "serial",
        Optional.empty(),
        Optional.empty(),
        new Acl.Everybody(),
        true,
        false);
  }

  private List<Path> files() throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return files.toList();
    }
  }

  @Test
  void anEntryIsThereUntilItIsClosed() throws IOException {
    FileExportJournal journal = new FileExportJournal(directory);
    journal.opened(export(directory.resolve("disk")));
    assertThat(new FileExportJournal(directory).open()).hasSize(1);
    journal.closed(IQN);
    assertThat(files()).isEmpty();
  }

  /** Of a full disk, for one; here something stands where the entry would be. */
  @Test
  void oneThatCannotBeWrittenLeavesNothing() throws IOException {
    FileExportJournal journal = new FileExportJournal(directory);
    journal.opened(export(directory.resolve("disk")));
    Path entry = files().getFirst();
    journal.closed(IQN);
    Files.createDirectories(entry.resolve("in-the-way"));
    assertThatThrownBy(() -> journal.opened(export(directory.resolve("disk"))))
        .isInstanceOf(IOException.class);
    assertThat(files()).containsExactly(entry);
  }

  @Test
  void whatAKilledServerHasHalfWrittenGoes() throws IOException {
    Files.writeString(directory.resolve("iqn.2026-01.io.xenferry+disk.export.new"), "secret=");
    assertThat(new FileExportJournal(directory).open()).isEmpty();
    assertThat(files()).isEmpty();
  }
}
