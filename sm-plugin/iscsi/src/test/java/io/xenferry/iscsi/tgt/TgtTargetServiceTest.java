package io.xenferry.iscsi.tgt;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import io.xenferry.block.BlockException;
import io.xenferry.block.ExternalTools;
import io.xenferry.iscsi.IscsiUrl;
import io.xenferry.iscsi.IscsiUrl.Credentials;
import io.xenferry.iscsi.initiator.IscsiDisk;
import io.xenferry.iscsi.initiator.IscsiInitiator;
import io.xenferry.iscsi.target.Acl;
import io.xenferry.iscsi.target.Export;
import io.xenferry.iscsi.target.ExportJournal;
import io.xenferry.iscsi.target.FileExportJournal;
import io.xenferry.iscsi.target.TargetException;
import io.xenferry.iscsi.target.TargetService;
import io.xenferry.iscsi.target.TargetServiceContract;
import io.xenferry.iscsi.tgt.TgtTargetService.Settings;
import java.net.InetAddress;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class TgtTargetServiceTest extends TargetServiceContract {
  private static final Duration TIMEOUT = Duration.ofSeconds(20);

  @BeforeAll
  static void needsTgtd() {
    ExternalTools.require("tgtd", "tgtadm", "setsid");
  }

  @Override
  protected TargetService start(ExportJournal journal) throws Exception {
    return new TgtTargetService(
        TgtTargetService.Settings.own(
            directory.resolve("tgtd"), InetAddress.getByName("127.0.0.1")),
        journal);
  }

  @Override
  protected void stop(TargetService service) throws Exception {
    ((TgtTargetService) service).stop();
  }

  @Test
  void aKilledDaemonComesBackWithItsOpenExportsOnly() throws Exception {
    Credentials account = new Credentials("ferry3", "correct-horse-3");
    Export open =
        export("survivor", file("s.img", 64 * MIB), Optional.of(account), new Acl.Everybody());
    Export closed = export("closed", file("c.img", MIB));
    IscsiUrl url = service.open(open);
    service.open(closed);
    service.close(closed.iqn());
    IscsiDisk disk = IscsiInitiator.connect(url, OPTIONS);
    List<CompletableFuture<Void>> writes = new ArrayList<>();
    for (int i = 0; i < 200; i++) {
      writes.add(disk.write((long) i * 256 * 1024, ByteBuffer.allocateDirect(256 * 1024)));
    }
    ProcessHandle daemon = ((TgtTargetService) service).process().orElseThrow();

    assertThat(daemon.destroyForcibly()).isTrue();

    int lost = 0;
    for (CompletableFuture<Void> write : writes) {
      try {
        IscsiDisk.await(write, Duration.ofSeconds(60));
      } catch (BlockException e) {
        assertThat(e.kind()).isIn(BlockException.Kind.LOST, BlockException.Kind.RESET);
        lost++;
      }
    }
    await()
        .atMost(Duration.ofSeconds(60))
        .untilAsserted(() ->
            assertThat(((TgtTargetService) service).process())
                .hasValueSatisfying(p -> assertThat(p.pid()).isNotEqualTo(daemon.pid())));
    try (IscsiDisk again = IscsiInitiator.connect(url, OPTIONS)) {
      assertThat(again.size()).isEqualTo(64 * MIB);
    }
    if (lost > 0) {
      assertThat(disk.failureKind()).isPresent();
    }
    disk.close();
    assertThat(IscsiInitiator.discover(url.host(), url.port(), Optional.empty(), OPTIONS))
        .extracting(IscsiInitiator.Discovered::iqn)
        .containsExactly(open.iqn());
  }

  @Test
  void theDaemonOutlivesTheServerOnlyWithExportsToServe() throws Exception {
    Export export = export("served", file("served.img", MIB));
    service.open(export);
    ProcessHandle daemon = ((TgtTargetService) service).process().orElseThrow();
    service.close();
    assertThat(daemon.isAlive()).isTrue();

    service = start(journal);
    assertThat(((TgtTargetService) service).process()).contains(daemon);
    service.close(export.iqn());
    service.close();
    assertThat(daemon.isAlive()).isFalse();
    service = start(journal);
  }

  @Test
  void anAccountThatNoExportHasGoesAtTheNextStart() throws Exception {
    Credentials account = new Credentials("ferry4", "correct-horse-4");
    Export export =
        export("served", file("served.img", MIB), Optional.of(account), new Acl.Everybody());
    service.open(export);
    Tgtadm tgtadm =
        new TgtadmProgram(((TgtTargetService) service).control(), Duration.ofSeconds(20));
    // As a server leaves it that is killed while it makes a target, or takes one away.
    tgtadm.run(
        "--mode", "account", "--op", "new", "--user", "half", "--password", "correct-horse-5");
    TgtTargets targets = new TgtTargets(tgtadm);
    assertThat(targets.accounts()).containsExactlyInAnyOrder("ferry4", "half");
    service.close();

    service = start(journal);
    assertThat(targets.accounts()).containsExactly("ferry4");
    service.close(export.iqn());
    assertThat(targets.accounts()).isEmpty();
  }

  /** Commands as a server gives them that is killed after some. */
  private static final class Killed implements Tgtadm {
    /** Stands for the end of a process: nobody in it handles that. */
    private static final class End extends RuntimeException {
      private static final long serialVersionUID = 1L;
    }

    private final Tgtadm program;
    private int left;

    Killed(int control, int after) {
      program = new TgtadmProgram(control, TIMEOUT);
      left = after;
    }

    @Override
    public String run(String... arguments) throws TargetException {
      if (left == 0) {
        throw new End();
      }
      left--;
      return program.run(arguments);
    }

    /** Makes a target, as far as it comes. */
    static void makes(Export export, int tid, int control, int after) throws TargetException {
      Killed server = new Killed(control, after);
      assertThatThrownBy(() -> new TgtTargets(server).create(export, tid)).isInstanceOf(End.class);
    }
  }

  /** All commands that make a target, none of which is run. */
  private static List<String[]> commands(Export export, int tid) throws TargetException {
    List<String[]> given = new ArrayList<>();
    Tgtadm listening =
        arguments -> {
          given.add(arguments);
          return "";
        };
    new TgtTargets(listening).create(export, tid);
    return given;
  }

  private Settings own(Duration commandTimeout, Duration watch) throws Exception {
    Settings own = Settings.own(directory.resolve("tgtd"), InetAddress.getByName("127.0.0.1"));
    return new Settings(
        own.state(),
        own.address(),
        own.port(),
        own.attachTo(),
        own.prefix(),
        commandTimeout,
        own.closeTimeout(),
        watch);
  }

  /** Whoever is killed meanwhile leaves a part of a target, which is not taken for one. */
  @Test
  void whatWasHalfMadeIsMadeAnew() throws Exception {
    Export export =
        export(
            "half",
            file("half.img", MIB),
            Optional.of(new Credentials("ferry5", "correct-horse-5")),
            new Acl.Everybody());
    IscsiUrl url = service.open(export);
    int control = ((TgtTargetService) service).control();
    TgtTargets targets = new TgtTargets(new TgtadmProgram(control, TIMEOUT));
    service.close();
    int all = commands(export, 1000).size();
    assertThat(all).isGreaterThan(8);
    for (int after = 1; after < all; after++) {
      targets.remove(export.iqn(), TIMEOUT);
      Killed.makes(export, 1000 + after, control, after);
      assertThatThrownBy(() -> IscsiInitiator.connect(url, OPTIONS))
          .isInstanceOf(BlockException.class);

      service = start(journal);
      try (IscsiDisk disk = IscsiInitiator.connect(url, OPTIONS)) {
        assertThat(disk.size()).isEqualTo(MIB);
      }
      service.close();
    }
    service = start(journal);
  }

  /**
   * The last command of a server that was killed may come late, when the one after it has closed
   * the export: whichever it was, nobody can write by it, and nothing of it stays.
   */
  @Test
  void whatComesOfAKilledServerAfterTheCloseWritesNothingAndGoes() throws Exception {
    Export export =
        export(
            "late",
            file("late.img", MIB),
            Optional.of(new Credentials("ferry6", "correct-horse-6")),
            new Acl.Everybody());
    service.close();
    service = new TgtTargetService(own(TIMEOUT, Duration.ofMillis(20)), journal);
    Tgtadm tgtadm = new TgtadmProgram(((TgtTargetService) service).control(), TIMEOUT);
    TgtTargets targets = new TgtTargets(tgtadm);
    IscsiUrl url = service.open(export);
    service.close(export.iqn());

    for (String[] command : commands(export, 1000)) {
      try {
        tgtadm.run(command);
      } catch (TargetException e) {
        assertThat(e.kind()).isNotEqualTo(TargetException.Kind.DOWN); // there is no such target
      }
      assertThatThrownBy(() -> IscsiInitiator.connect(url, OPTIONS))
          .isInstanceOf(BlockException.class);
      await()
          .atMost(Duration.ofSeconds(60))
          .until(() -> targets.show().isEmpty() && targets.accounts().isEmpty());
    }
  }

  /** A daemon that hangs cannot be fenced: then nobody may believe that the export is closed. */
  @Test
  void whatCouldNotBeClosedStaysListedUntilItIs() throws Exception {
    Export export = export("stuck", file("stuck.img", 8 * MIB));
    service.open(export);
    long daemon = ((TgtTargetService) service).process().orElseThrow().pid();
    service.close();
    service = new TgtTargetService(own(Duration.ofSeconds(2), Duration.ofSeconds(1)), journal);

    signal("-STOP", daemon);
    try {
      assertThatThrownBy(() -> service.close(export.iqn()))
          .isInstanceOfSatisfying(
              TargetException.class,
              e -> assertThat(e.kind()).isEqualTo(TargetException.Kind.TIMEOUT));
    } finally {
      signal("-CONT", daemon);
    }
    assertThat(service.list()).containsExactly(export);
    assertThat(journal.open()).isEmpty();
    assertThatThrownBy(() -> service.open(export)).isInstanceOf(TargetException.class);

    service.close(export.iqn());

    assertThat(service.list()).isEmpty();
    service.open(export);
  }

  private static void signal(String signal, long pid) throws Exception {
    assertThat(new ProcessBuilder("kill", signal, Long.toString(pid)).start().waitFor()).isZero();
  }

  @Test
  void sessionsAreTuned() throws Exception {
    Export export = export("tuned", file("tuned.img", MIB));
    service.open(export);
    Tgtadm tgtadm =
        new TgtadmProgram(((TgtTargetService) service).control(), Duration.ofSeconds(20));
    String tid = Integer.toString(new TgtTargets(tgtadm).show().get(export.iqn()).tid());
    assertThat(tgtadm.run("--mode", "target", "--op", "show", "--tid", tid))
        .contains(
            "MaxRecvDataSegmentLength=262144",
            "FirstBurstLength=262144",
            "MaxBurstLength=1048576",
            "InitialR2T=No");
  }

  /** Immediate data, then unsolicited, and the rest as the target asks for it. */
  @Test
  void aTargetWithSmallSegmentsGetsItsDataInAllThreeWays() throws Exception {
    java.nio.file.Path file = file("small.img", 8 * MIB);
    Export export = export("small", file);
    IscsiUrl url = service.open(export);
    Tgtadm tgtadm =
        new TgtadmProgram(((TgtTargetService) service).control(), Duration.ofSeconds(20));
    String tid = Integer.toString(new TgtTargets(tgtadm).show().get(export.iqn()).tid());
    for (String[] parameter :
        new String[][] {
          {"MaxRecvDataSegmentLength", "8192"},
          {"FirstBurstLength", "65536"},
          {"MaxBurstLength", "131072"}
        }) {
      tgtadm.run(
          "--mode",
          "target",
          "--op",
          "update",
          "--tid",
          tid,
          "--name",
          parameter[0],
          "--value",
          parameter[1]);
    }
    byte[] content = new byte[4 * MIB];
    new java.util.Random(5).nextBytes(content);
    try (IscsiDisk disk = IscsiInitiator.connect(url, OPTIONS)) {
      List<CompletableFuture<Void>> writes = new ArrayList<>();
      for (int at = 0; at < content.length; at += MIB) {
        writes.add(disk.write(at, ByteBuffer.wrap(content, at, MIB)));
      }
      for (CompletableFuture<Void> write : writes) {
        IscsiDisk.await(write, Duration.ofSeconds(60));
      }
      IscsiDisk.await(disk.flush(), Duration.ofSeconds(60));
      ByteBuffer back = ByteBuffer.allocate(MIB);
      IscsiDisk.await(disk.read(2 * MIB, back), Duration.ofSeconds(60));
      assertThat(back.array()).isEqualTo(java.util.Arrays.copyOfRange(content, 2 * MIB, 3 * MIB));
    }
    assertThat(java.util.Arrays.copyOf(java.nio.file.Files.readAllBytes(file), content.length))
        .isEqualTo(content);
  }

  @Test
  void aLostTargetIsCreatedAgain() throws Exception {
    Export export = export("lost", file("l.img", MIB));
    IscsiUrl url = service.open(export);
    TgtTargetService tgt = (TgtTargetService) service;

    new TgtTargets(new TgtadmProgram(tgt.control(), Duration.ofSeconds(20)))
        .remove(export.iqn(), Duration.ofSeconds(20));

    await()
        .atMost(Duration.ofSeconds(60))
        .ignoreExceptions()
        .untilAsserted(() -> IscsiInitiator.connect(url, OPTIONS).close());
  }

  @Test
  void anAttachedServiceTouchesOnlyItsOwnTargets() throws Exception {
    Export theirs = export("theirs", file("theirs.img", MIB));
    IscsiUrl url = service.open(theirs);
    TgtTargetService owner = (TgtTargetService) service;
    String prefix = "iqn.2026-01.io.xenferry.attached:";
    TgtTargetService.Settings settings =
        TgtTargetService.Settings.own(
                directory.resolve("attached"), InetAddress.getByName("127.0.0.1"))
            .attachedTo(owner.control(), url.port(), prefix);
    FileExportJournal other = new FileExportJournal(directory.resolve("other"));
    owner.close();
    TgtTargetService attached = new TgtTargetService(settings, other);
    Export shape = export("x", file("ours.img", MIB));
    Export ours =
        new Export(
            prefix + "ours",
            1,
            shape.backing(),
            "ours",
            "ours",
            Optional.empty(),
            shape.acl(),
            true,
            false);

    IscsiInitiator.connect(attached.open(ours), OPTIONS).close();
    attached.close(ours.iqn());
    attached.close();

    service = start(journal);
    assertThat(((TgtTargetService) service).process().map(ProcessHandle::pid))
        .isEqualTo(owner.process().map(ProcessHandle::pid));
    IscsiInitiator.connect(url, OPTIONS).close();
  }
}
