package io.xenferry.iscsi.target;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.block.BlockException;
import io.xenferry.block.ExternalTools;
import io.xenferry.block.FileBackend;
import io.xenferry.iscsi.IscsiUrl;
import io.xenferry.iscsi.IscsiUrl.Credentials;
import io.xenferry.iscsi.initiator.IscsiDisk;
import io.xenferry.iscsi.initiator.IscsiInitiator;
import io.xenferry.iscsi.initiator.IscsiOptions;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What every target service must do. Each implementation runs it. */
public abstract class TargetServiceContract {
  protected static final int MIB = 1 << 20;
  protected static final IscsiOptions OPTIONS =
      IscsiOptions.defaults().withCloseTimeout(Duration.ofSeconds(20));

  @TempDir protected Path directory;
  protected ExportJournal journal;
  protected TargetService service;
  private int serial;

  /** A new service on this journal; one that was started before in the directory is found again. */
  protected abstract TargetService start(ExportJournal journal) throws Exception;

  /** Ends a service and all its targets. */
  protected abstract void stop(TargetService service) throws Exception;

  @BeforeEach
  void startService() throws Exception {
    journal = new FileExportJournal(directory.resolve("journal"));
    service = start(journal);
  }

  @AfterEach
  void stopService() throws Exception {
    stop(service);
  }

  protected Path file(String name, long size) throws Exception {
    Path path = directory.resolve(name);
    try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw")) {
      file.setLength(size);
    }
    return path;
  }

  protected Export export(String name, Path file) {
    return export(name, file, Optional.empty(), new Acl.ByAddress("127.0.0.0/24"));
  }

  protected Export export(String name, Path file, Optional<Credentials> account, Acl acl) {
    String id = name.replaceAll("[^a-z0-9]", "") + ++serial;
    return new Export(
        "iqn.2026-01.io.xenferry:" + name,
        1,
        new Export.Backing.File(file),
        id,
        id,
        account,
        acl,
        true,
        false);
  }

  private static void await(CompletableFuture<?> future) throws BlockException {
    IscsiDisk.await(future, Duration.ofSeconds(60));
  }

  private static byte[] noise(int seed, int length) {
    byte[] bytes = new byte[length];
    new Random(seed).nextBytes(bytes);
    return bytes;
  }

  @Test
  void servesAFileUnderItsName() throws Exception {
    Path file = file("a.img", 8 * MIB);
    Export export = export("a", file);

    IscsiUrl url = service.open(export);

    assertThat(service.list()).containsExactly(export);
    assertThat(service.url(export.iqn())).contains(url);
    byte[] content = noise(1, 100 * 4096);
    try (IscsiDisk disk = IscsiInitiator.connect(url, OPTIONS)) {
      assertThat(disk.size()).isEqualTo(8 * MIB);
      assertThat(disk.identity()).contains(export.serial());
      assertThat(disk.thin()).isTrue();
      assertThat(service.drained(export.iqn())).isFalse();
      await(disk.write(MIB, ByteBuffer.wrap(content)));
      await(disk.flush());
    }
    byte[] stored = Files.readAllBytes(file);
    assertThat(Arrays.copyOfRange(stored, MIB, MIB + content.length)).isEqualTo(content);
    assertThat(IscsiInitiator.discover(url.host(), url.port(), Optional.empty(), OPTIONS))
        .extracting(IscsiInitiator.Discovered::iqn)
        .contains(export.iqn());
  }

  @Test
  void zeroedSpaceIsGivenBack() throws Exception {
    Path file = file("thin.img", 64 * MIB);
    try (IscsiDisk disk = IscsiInitiator.connect(service.open(export("thin", file)), OPTIONS)) {
      for (int i = 0; i < 32; i++) {
        await(disk.write((long) i * MIB, ByteBuffer.wrap(noise(i, MIB))));
      }
      await(disk.flush());
      assertThat(FileBackend.allocated(file)).isGreaterThanOrEqualTo(32 * MIB);

      await(disk.zero(0, 64 * MIB));
      await(disk.flush());

      assertThat(FileBackend.allocated(file)).isLessThan(MIB);
      assertThat(disk.extents(0, 64 * MIB).get())
          .allSatisfy(extent -> assertThat(extent.zero()).isTrue());
    }
    assertThat(Files.mismatch(file, file("zeroes.img", 64 * MIB))).isEqualTo(-1);
  }

  @Test
  void initiatorsTellDisksApart() throws Exception {
    ExternalTools.require("iscsi-inq");
    for (String name : List.of("one", "two")) {
      Export export = export(name, file(name + ".img", MIB));
      String url = service.open(export).text();
      assertThat(ExternalTools.run("iscsi-inq", "-e", "1", "-c", "131", url))
          .contains(export.scsiId());
      assertThat(ExternalTools.run("iscsi-inq", "-e", "1", "-c", "128", url))
          .contains(export.serial());
    }
  }

  @Test
  void openingTwiceIsOnce_andAnotherOfThatNameIsRefused() throws Exception {
    Export export = export("twice", file("t.img", MIB));
    IscsiUrl url = service.open(export);

    assertThat(service.open(export)).isEqualTo(url);
    Export other = export("twice", file("u.img", MIB));
    assertThatThrownBy(() -> service.open(other))
        .isInstanceOfSatisfying(
            TargetException.class,
            e -> assertThat(e.kind()).isEqualTo(TargetException.Kind.EXISTS));
    assertThat(service.list()).containsExactly(export);
  }

  @Test
  void twoExportsShareNeitherAccountNorScsiId() throws Exception {
    Credentials account = new Credentials("ferry9", "correct-horse-9");
    Export first = export("first", file("1.img", MIB), Optional.of(account), new Acl.Everybody());
    service.open(first);
    Export sameUser =
        export("second", file("2.img", MIB), Optional.of(account), new Acl.Everybody());
    Export sameId =
        new Export(
            "iqn.2026-01.io.xenferry:third",
            1,
            sameUser.backing(),
            first.scsiId(),
            "other",
            Optional.empty(),
            first.acl(),
            true,
            false);

    for (Export taken : List.of(sameUser, sameId)) {
      assertThatThrownBy(() -> service.open(taken))
          .isInstanceOfSatisfying(
              TargetException.class,
              e -> assertThat(e.kind()).isEqualTo(TargetException.Kind.EXISTS))
          .hasMessageContaining(first.iqn());
    }
    assertThat(journal.open()).containsExactly(first);
  }

  @Test
  void anUnusableFileLeavesNothing() throws Exception {
    Export export = export("gone", directory.resolve("no-such-file"));

    assertThatThrownBy(() -> service.open(export))
        .isInstanceOfSatisfying(
            TargetException.class,
            e -> assertThat(e.kind()).isEqualTo(TargetException.Kind.INVALID));
    assertThat(service.list()).isEmpty();
    assertThat(journal.open()).isEmpty();
    assertThat(service.drained(export.iqn())).isTrue();
  }

  @Test
  void wantsTheRightSecret() throws Exception {
    Credentials account = new Credentials("ferry1", "correct-horse-1");
    Export export = export("chap", file("c.img", MIB), Optional.of(account), new Acl.Everybody());
    IscsiUrl url = service.open(export);

    assertThat(url.credentials()).contains(account);
    IscsiInitiator.connect(url, OPTIONS).close();
    for (Optional<Credentials> wrong :
        List.of(
            Optional.<Credentials>empty(),
            Optional.of(new Credentials("ferry1", "battery-staple")),
            Optional.of(new Credentials("someone", "correct-horse-1")))) {
      IscsiUrl tried = new IscsiUrl(wrong, url.host(), url.port(), url.iqn(), url.lun());
      assertAccessRefused(tried, OPTIONS);
    }
  }

  @Test
  void admitsInitiatorsByNameOrByAddress() throws Exception {
    IscsiUrl named =
        service.open(
            export(
                "named",
                file("n.img", MIB),
                Optional.empty(),
                new Acl.ByName("iqn.2026-01.io.xenferry:me")));
    IscsiInitiator.connect(named, OPTIONS.withInitiatorName("iqn.2026-01.io.xenferry:me")).close();
    assertAccessRefused(named, OPTIONS.withInitiatorName("iqn.2026-01.io.xenferry:you"));

    IscsiUrl elsewhere =
        service.open(
            export(
                "elsewhere",
                file("e.img", MIB),
                Optional.empty(),
                new Acl.ByAddress("192.0.2.0/24")));
    assertAccessRefused(elsewhere, OPTIONS);
  }

  protected static void assertAccessRefused(IscsiUrl url, IscsiOptions options) {
    assertThatThrownBy(() -> IscsiInitiator.connect(url, options).close())
        .isInstanceOfSatisfying(
            BlockException.class, e -> assertThat(e.kind()).isEqualTo(BlockException.Kind.ACCESS));
  }

  @Test
  void aReadOnlyExportRefusesWrites() throws Exception {
    Path file = file("ro.img", MIB);
    Export writable = export("ro", file);
    Export export =
        new Export(
            writable.iqn(),
            1,
            writable.backing(),
            "ro1",
            "ro1",
            Optional.empty(),
            writable.acl(),
            true,
            true);
    try (IscsiDisk disk = IscsiInitiator.connect(service.open(export), OPTIONS)) {
      assertThat(disk.readOnly()).isTrue();
    }
  }

  @Test
  void closingIsAFence() throws Exception {
    Path file = file("f.img", 64 * MIB);
    Export export = export("fence", file);
    IscsiUrl url = service.open(export);
    IscsiDisk disk = IscsiInitiator.connect(url, OPTIONS);
    List<CompletableFuture<Void>> writes = new ArrayList<>();
    for (int i = 0; i < 256; i++) {
      writes.add(disk.write((long) i * 256 * 1024, ByteBuffer.wrap(noise(i, 256 * 1024))));
    }

    service.close(export.iqn());

    byte[] after = Files.readAllBytes(file);
    assertThat(service.list()).isEmpty();
    assertThat(journal.open()).isEmpty();
    for (CompletableFuture<Void> write : writes) {
      try {
        await(write);
      } catch (BlockException e) {
        assertThat(e.kind()).isIn(BlockException.Kind.LOST, BlockException.Kind.RESET);
      }
    }
    for (int i = 0; i < writes.size(); i++) {
      if (!writes.get(i).isCompletedExceptionally()) {
        assertThat(Arrays.copyOfRange(after, i * 256 * 1024, (i + 1) * 256 * 1024))
            .isEqualTo(noise(i, 256 * 1024));
      }
    }
    disk.close();
    assertThat(Arrays.mismatch(Files.readAllBytes(file), after)).isEqualTo(-1);
    service.open(export("other", file("other.img", MIB)));
    assertAccessRefused(url, OPTIONS);
    service.close(export.iqn());
    service.close("iqn.2026-01.io.xenferry:never");
  }

  @Test
  void theNextServiceFindsWhatIsOpen() throws Exception {
    Path file = file("next.img", MIB);
    Credentials account = new Credentials("ferry2", "correct-horse-2");
    Export kept = export("kept", file, Optional.of(account), new Acl.Everybody());
    Export dropped = export("dropped", file("d.img", MIB));
    IscsiUrl url = service.open(kept);
    IscsiUrl gone = service.open(dropped);
    service.close();
    journal.closed(dropped.iqn());

    service = start(new FileExportJournal(directory.resolve("journal")));

    assertThat(service.list()).containsExactly(kept);
    assertThat(service.url(kept.iqn()).map(IscsiUrl::text)).contains(url.text());
    IscsiInitiator.connect(url, OPTIONS).close();
    assertAccessRefused(gone, OPTIONS);
  }

  @Test
  void hundredTargetsComeAndGo() throws Exception {
    List<Export> exports = new ArrayList<>();
    for (int i = 0; i < 100; i++) {
      exports.add(export("many-" + i, file("many-" + i, MIB)));
      service.open(exports.getLast());
    }
    assertThat(service.list()).hasSize(100);
    IscsiUrl some = service.url(exports.get(57).iqn()).orElseThrow();
    assertThat(IscsiInitiator.discover(some.host(), some.port(), Optional.empty(), OPTIONS))
        .hasSize(100);
    IscsiInitiator.connect(some, OPTIONS).close();
    for (Export export : exports) {
      service.close(export.iqn());
    }
    assertThat(service.list()).isEmpty();
  }
}
