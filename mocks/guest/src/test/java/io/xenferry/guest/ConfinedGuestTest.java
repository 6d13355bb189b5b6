package io.xenferry.guest;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.xenferry.qemu.QemuHypervisor;
import io.xenferry.qemu.access.GuestUser;
import io.xenferry.qemu.access.GuestUsers;
import io.xenferry.spi.Guest;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.ImageMerging;
import io.xenferry.spi.ImageMerging.Phase;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** As whom QEMU runs, and what it may have then: looked at as that user. */
@Timeout(180)
class ConfinedGuestTest {
  private static final Duration LONG = Duration.ofSeconds(60);
  private static final long SIZE = 1 << 20;

  private final UUID vm = UUID.randomUUID();
  private Guests guests;
  private GuestUser user;
  private Path disk;

  /** Users of their own for all guests; skipped, or failed, where the test is not root. */
  static GuestUsers users() throws Exception {
    boolean root = Files.getAttribute(Path.of("/proc/self"), "unix:uid").equals(0);
    if ("true".equals(System.getenv("XENFERRY_REQUIRE_TOOLS"))) {
      assertThat(root).as("this test is root").isTrue();
    }
    assumeTrue(root, "only root can run guests as somebody else");
    return GuestUsers.parse("1900000000-1950000000");
  }

  @BeforeEach
  void open() throws Exception {
    QemuHypervisorTest qemu = new QemuHypervisorTest();
    guests = new Guests(qemu.launcher(), users());
    user = users().of(run()).orElseThrow();
    disk = image("disk.raw");
  }

  @AfterEach
  void close() throws Exception {
    if (guests != null) {
      guests.close();
    }
  }

  private Path run() {
    return guests.directory.resolve("s").resolve(vm.toString());
  }

  private Path image(String name) throws Exception {
    Path image = guests.disk(name, SIZE);
    Files.setPosixFilePermissions(image, PosixFilePermissions.fromString("rw-------"));
    return image;
  }

  private GuestSpec spec() {
    GuestSpec spec = guests.spec(vm, Map.of(), disk);
    return spec.with(
        spec.disks(), List.of(new GuestSpec.CdDrive("xvdc", Optional.empty())), spec.nics());
  }

  private GuestSpec.Disk plugged(Path file, String format) {
    return new GuestSpec.Disk("xvdb", UUID.randomUUID(), file, format, false);
  }

  /** Layered images, the lowest first. */
  private List<Path> chain(String... names) throws Exception {
    List<Path> chain = new ArrayList<>();
    for (String name : names) {
      Path image = guests.directory.resolve(name + ".qcow2");
      if (chain.isEmpty()) {
        run("qemu-img", "create", "-q", "-f", "qcow2", "" + image, "1M");
      } else {
        String below = chain.getLast().toString();
        run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", below, "" + image);
      }
      Files.setPosixFilePermissions(image, PosixFilePermissions.fromString("rw-------"));
      chain.add(image);
    }
    return chain;
  }

  private static void run(String... command) throws Exception {
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    String words = new String(process.getInputStream().readAllBytes());
    assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
    assertThat(process.exitValue()).as(words).isZero();
  }

  /** What the user may do: {@code r} and {@code w}. */
  private String may(int uid, Path file) throws Exception {
    StringBuilder may = new StringBuilder();
    for (String right : List.of("r", "w")) {
      Process test =
          new ProcessBuilder(
                  "setpriv",
                  "--reuid=" + uid,
                  "--regid=" + user.gid(),
                  "--clear-groups",
                  "--",
                  "test",
                  "-" + right,
                  file.toString())
              .start();
      assertThat(test.waitFor(60, TimeUnit.SECONDS)).isTrue();
      may.append(test.exitValue() == 0 ? right : "");
    }
    return may.toString();
  }

  private String may(Path file) throws Exception {
    return may(user.uid(), file);
  }

  private long pid() throws Exception {
    return Long.parseLong(Files.readString(run().resolve("pid")).strip());
  }

  private Map<String, String> status() throws Exception {
    Map<String, String> status = new HashMap<>();
    for (String line : Files.readAllLines(Path.of("/proc/" + pid() + "/status"))) {
      int colon = line.indexOf(':');
      status.put(line.substring(0, colon), line.substring(colon + 1).strip());
    }
    return status;
  }

  @Test
  void itHasNoRightsButThoseToItsOwnFiles() throws Exception {
    Guest guest = guests.host("s").start(spec(), false);
    String uid = Integer.toString(user.uid());
    String gid = Integer.toString(user.gid());
    String nothing = "0000000000000000";
    assertThat(status())
        .containsEntry("Uid", String.join("\t", uid, uid, uid, uid))
        .containsEntry("Gid", String.join("\t", gid, gid, gid, gid))
        .hasEntrySatisfying("Groups", all -> assertThat(all.split(" ")).doesNotContain("0"))
        .containsEntry("CapInh", nothing)
        .containsEntry("CapPrm", nothing)
        .containsEntry("CapEff", nothing)
        .containsEntry("CapBnd", nothing)
        .containsEntry("CapAmb", nothing)
        .containsEntry("NoNewPrivs", "1")
        .containsEntry("Seccomp", "2");
    assertThat(Files.getAttribute(run().resolve("qmp.sock"), "unix:uid"))
        .as("it cannot put another socket there")
        .isEqualTo(0);
    assertThat(may(disk)).isEqualTo("rw");
    assertThat(may(user.uid() + 1, disk)).as("another guest").isEmpty();
    assertThat(may(run().resolve("spec.json"))).as("the server's notes").isEmpty();
    assertThat(may(guests.directory)).as("a directory on the way").isEmpty();

    guest.destroy();
    assertThat(may(disk)).isEmpty();
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(disk)))
        .as("its mode is as it was")
        .isEqualTo("rw-------");
  }

  @Test
  @Tag("slow")
  void whatIsPluggedItMayHaveUntilItIsUnplugged() throws Exception {
    Guest guest = guests.host("s").start(spec(), false);
    List<Path> chain = chain("base", "top", "next");
    Path base = chain.get(0);
    Path top = chain.get(1);
    Path next = chain.get(2);
    guest.hardware().attach(plugged(top, "qcow2"));
    assertThat(may(top)).isEqualTo("rw");
    assertThat(may(base)).as("what is below is only read").isEqualTo("r");
    assertThat(may(next)).isEmpty();
    guest.changeImages(List.of(new Guest.NextImage("xvdb", top, next)));
    assertThat(may(next)).isEqualTo("rw");
    assertThat(may(top)).as("what is below now").isEqualTo("r");
    guest.hardware().detachDisk("xvdb");
    for (Path image : List.of(base, top, next)) {
      assertThat(may(image)).as("" + image).isEmpty();
    }
    assertThat(may(disk)).isEqualTo("rw");

    Path cd = image("cd.raw");
    guest.hardware().insert("xvdc", new GuestSpec.Medium(UUID.randomUUID(), cd, "raw"));
    assertThat(may(cd)).isEqualTo("r");
    guest.hardware().eject("xvdc");
    assertThat(may(cd)).isEmpty();
    assertThat(status()).containsEntry("CapEff", "0000000000000000");
  }

  private static void awaitHeld(ImageMerging merging) throws Exception {
    Set<Phase> done = EnumSet.of(Phase.CONVERGED, Phase.HELD);
    await().atMost(LONG).until(() -> done.contains(merging.progress("xvdb").phase()));
    if (merging.progress("xvdb").phase() == Phase.CONVERGED) {
      merging.hold("xvdb", Optional.empty());
    }
    await().atMost(LONG).until(() -> merging.progress("xvdb").phase() == Phase.HELD);
  }

  @Test
  @Tag("slow")
  void whatAMergeWritesItMayWriteUntilThatEnds() throws Exception {
    QemuHypervisor first = guests.host("s");
    Guest guest = first.start(spec(), false);
    List<Path> chain = chain("base", "middle", "over", "top");
    Path base = chain.get(0);
    Path over = chain.get(2);
    Path top = chain.get(3);
    guest.hardware().attach(plugged(top, "qcow2"));
    ImageMerging merging = guest.merging().orElseThrow();
    merging.begin("xvdb", chain.get(1), base, 0);
    awaitHeld(merging);
    assertThat(may(base)).as("what is written").isEqualTo("rw");
    assertThat(may(over)).as("whose header will name another base").isEqualTo("rw");
    merging.flush("xvdb", base);
    merging.finish("xvdb");
    Files.delete(chain.get(1));
    assertThat(may(base)).isEqualTo("r");
    assertThat(may(over)).isEqualTo("r");
    assertThat(may(top)).isEqualTo("rw");

    merging.begin("xvdb", over, base, 0);
    awaitHeld(merging);
    first.close();
    Guest found = guests.host("s").find(vm).orElseThrow();
    assertThat(may(base)).isEqualTo("rw");
    merging = found.merging().orElseThrow();
    merging.cancel("xvdb");
    assertThat(may(base)).as("a merge that was given up").isEqualTo("r");

    merging.begin("xvdb", over, base, 0);
    awaitHeld(merging);
    merging.finish("xvdb");
    Files.delete(over);
    merging.begin("xvdb", top, base, 0);
    awaitHeld(merging);
    merging.finish("xvdb");
    assertThat(found.image("xvdb")).isEqualTo(base);
    assertThat(may(base)).as("what the disk writes now").isEqualTo("rw");
    found.hardware().detachDisk("xvdb");
    assertThat(may(base)).isEmpty();
  }

  @Test
  @Tag("slow")
  void aLaterServerGivesItWhatItHadAndTakesItBackWhenItDies() throws Exception {
    QemuHypervisor first = guests.host("s");
    first.start(spec(), false);
    first.close();
    // As a server does with its state directory when it starts.
    Files.setPosixFilePermissions(guests.directory, PosixFilePermissions.fromString("rwx------"));
    assertThat(may(disk)).isEmpty();
    QemuHypervisor second = guests.host("s");
    Guest guest = second.find(vm).orElseThrow();
    assertThat(may(disk)).isEqualTo("rw");
    Path more = image("more.raw");
    guest.hardware().attach(plugged(more, "raw"));
    assertThat(may(more)).isEqualTo("rw");
    ProcessHandle.of(pid()).orElseThrow().destroyForcibly();
    Guests.awaitState(guest, Guest.State.GONE);
    await()
        .atMost(LONG)
        .untilAsserted(() -> {
          assertThat(may(disk)).isEmpty();
          assertThat(may(more)).isEmpty();
        });
  }

  @Test
  @Tag("slow")
  void whatDiedWhileNoServerWasThereIsTakenBackByTheNext() throws Exception {
    QemuHypervisor first = guests.host("s");
    first.start(spec(), false);
    ProcessHandle process = ProcessHandle.of(pid()).orElseThrow();
    first.close();
    process.destroyForcibly();
    process.onExit().get(60, TimeUnit.SECONDS);
    assertThat(may(disk)).isEqualTo("rw");
    assertThat(guests.host("s").guests()).isEmpty();
    assertThat(may(disk)).isEmpty();
  }

  @Test
  @Tag("slow")
  void anImageThatNamesAForeignBaseIsRefused() throws Exception {
    Path elsewhere = Files.createDirectory(guests.directory.resolve("else")).resolve("secret");
    Files.writeString(elsewhere, "x".repeat(4096));
    Files.setPosixFilePermissions(elsewhere, PosixFilePermissions.fromString("rw-------"));
    Path evil = guests.directory.resolve("evil.qcow2");
    run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", "" + elsewhere, "" + evil);
    Guest guest = guests.host("s").start(spec(), false);
    assertThatThrownBy(() -> guest.hardware().attach(plugged(evil, "qcow2")))
        .isInstanceOf(HypervisorException.class)
        .hasMessageContaining("not beside it");
    assertThat(may(elsewhere)).isEmpty();
    assertThat(guest.devices()).containsExactly("xvda");
  }
}
