package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import com.fasterxml.jackson.databind.JsonNode;
import io.xenferry.guest.Verdict;
import io.xenferry.guest.Verifier;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * Real servers, guests and clients as processes: moved, killed, restarted, and checked from
 * outside.
 */
@Timeout(240)
class ProcessesTest {
  private static final PrintStream QUIET =
      new PrintStream(OutputStream.nullOutputStream(), true, StandardCharsets.UTF_8);

  private Path directory;
  private Laboratory lab;

  @BeforeEach
  void prepare() throws IOException {
    // Short: the guests' Unix sockets lie in it, and a socket's path has 107 bytes at most.
    directory = Files.createTempDirectory(Path.of("/tmp"), "xf");
    lab = new Laboratory(directory, List.of("--target", "auto"), QUIET);
  }

  @AfterEach
  void end() throws IOException {
    lab.close();
    try (Stream<Path> files = Files.walk(directory)) {
      for (Path file : (Iterable<Path>) files.sorted(Comparator.reverseOrder())::iterator) {
        Files.deleteIfExists(file);
      }
    }
  }

  private static int demo(Laboratory lab) throws Exception {
    return new Demo(
            lab,
            QUIET,
            List.of(new Demo.DiskSize(32 << 20, 40), new Demo.DiskSize(16 << 20, 40)),
            1 << 20,
            false)
        .run();
  }

  @Test
  void thereAndBackWithoutALostWrite() throws Exception {
    assertThat(demo(lab)).isZero();
  }

  @Test
  @Tag("slow")
  void thereAndBackThroughTheEmbeddedTarget() throws Exception {
    try (Laboratory embedded = new Laboratory(directory, List.of("--target", "embedded"), QUIET)) {
      assertThat(demo(embedded)).isZero();
    }
  }

  @Test
  @Tag("slow")
  void theCheckerFindsAFlippedByte() throws Exception {
    assertThat(new Demo(lab, QUIET, List.of(new Demo.DiskSize(32 << 20, 40)), 1 << 20, true).run())
        .isEqualTo(1);
  }

  /** A VM with one disk that writes, and a move of it that is slow enough to interfere with. */
  private final class Moving {
    final String vm;
    final Xe.Running xe;

    Moving(String bandwidth) throws Exception {
      lab.start();
      for (Site site : List.of(lab.alpha(), lab.beta())) {
        Xe.local(site)
            .run(
                "sr-create",
                "name-label=local",
                "type=file",
                "device-config:location=" + site.directory().resolve("sr"));
      }
      Xe alpha = Xe.local(lab.alpha());
      Xe beta = Xe.local(lab.beta());
      vm = alpha.run("vm-install", "template=Other install media", "new-name-label=busy");
      String vdi =
          alpha.run(
              "vdi-create",
              "sr-uuid=" + alpha.run("sr-list", "--minimal"),
              "name-label=disk",
              "virtual-size=32MiB");
      alpha.run("vbd-create", "vm-uuid=" + vm, "vdi-uuid=" + vdi, "device=0");
      String vif =
          alpha.run(
              "vif-create",
              "vm-uuid=" + vm,
              "network-uuid=" + alpha.run("network-list", "--minimal"),
              "device=0",
              "mac=random");
      alpha.run(
          "vm-param-set",
          "uuid=" + vm,
          "platform:xenferry:ledger=" + lab.ledger(),
          "platform:xenferry:workload-rate=1048576");
      alpha.run("vm-start", "uuid=" + vm);
      await()
          .atMost(Duration.ofSeconds(30))
          .until(() -> Files.exists(lab.ledger()) && Files.size(lab.ledger()) > 16_384);
      List<String> command =
          new ArrayList<>(
              List.of(
                  "vm-migrate",
                  "uuid=" + vm,
                  "remote-master=" + lab.beta().hostAndPort(),
                  "remote-username=root",
                  "remote-password=" + lab.beta().rootPassword(),
                  "vdi:" + vdi + "=" + beta.run("sr-list", "--minimal"),
                  "vif:" + vif + "=" + beta.run("network-list", "--minimal"),
                  "live=true"));
      if (!bandwidth.isEmpty()) {
        command.add("bandwidth=" + bandwidth);
      }
      xe = Xe.local(lab.alpha()).start(command.toArray(String[]::new));
    }

    void awaitPhase(String phase) throws Exception {
      try (Rest rest = new Rest(lab.alpha())) {
        await()
            .atMost(Duration.ofSeconds(60))
            .until(() -> {
              for (JsonNode status : rest.get("/v1/migrations")) {
                if (status.path("phase").asText().contains(phase)) {
                  return true;
                }
              }
              return false;
            });
      }
    }

    String stateAt(Site site) throws Exception {
      return Xe.local(site)
          .attempt("vm-list", "uuid=" + vm, "params=power-state", "--minimal")
          .out()
          .strip();
    }

    /** Both ledgers have come to rest. */
    void awaitRest() {
      for (Site site : List.of(lab.alpha(), lab.beta())) {
        try (Rest rest = new Rest(site)) {
          await()
              .atMost(Duration.ofSeconds(90))
              .ignoreExceptions()
              .until(() -> {
                for (JsonNode status : rest.get("/v1/migrations")) {
                  if (!status.path("ended").asBoolean()) {
                    return false;
                  }
                }
                return true;
              });
        }
      }
    }

    Site runsAt() throws Exception {
      String alpha = stateAt(lab.alpha());
      String beta = stateAt(lab.beta());
      assertThat(List.of(alpha, beta)).as("where the VM runs").containsOnlyOnce("running");
      return alpha.equals("running") ? lab.alpha() : lab.beta();
    }

    /** Stops the VM where it is, and checks every acknowledged write. */
    void assertNothingLost(Site site) throws Exception {
      Xe.local(site).run("vm-shutdown", "uuid=" + vm, "--force");
      Laboratory.Vm found = lab.find(site, vm, 1);
      Verdict verdict =
          Verifier.verify(lab.ledger(), List.of(lab.image(site, found.vdis().getFirst())));
      assertThat(verdict.good()).as(verdict.toString()).isTrue();
      assertThat(verdict.acknowledged()).isPositive();
    }

    void assertNothingLeft(Site site) throws IOException, InterruptedException {
      Xe xeThere = Xe.local(site);
      assertThat(xeThere.run("vdi-list", "--minimal")).as("disks left at " + site.name()).isEmpty();
      assertThat(xeThere.attempt("vm-list", "uuid=" + vm, "--minimal").out().strip()).isEmpty();
      try (var images = Files.newDirectoryStream(site.directory().resolve("sr"), "*.raw")) {
        assertThat(images).as("images left at " + site.name()).isEmpty();
      }
    }
  }

  @Test
  @Tag("slow")
  void aDestinationThatIsKilledLeavesTheVmAtTheSource() throws Exception {
    Moving moving = new Moving("2097152");
    moving.awaitPhase("copying");
    lab.beta().kill();
    assertThat(moving.stateAt(lab.alpha())).isEqualTo("running");
    lab.beta().start();
    moving.xe.await();
    moving.awaitRest();
    Site owner = moving.runsAt();
    moving.assertNothingLeft(owner == lab.alpha() ? lab.beta() : lab.alpha());
    moving.assertNothingLost(owner);
  }

  @Test
  @Tag("slow")
  void aSourceThatIsKilledFindsItsGuestAgain() throws Exception {
    Moving moving = new Moving("2097152");
    moving.awaitPhase("copying");
    lab.alpha().kill();
    lab.alpha().start();
    moving.awaitRest();
    Site owner = moving.runsAt();
    moving.assertNothingLeft(owner == lab.alpha() ? lab.beta() : lab.alpha());
    moving.assertNothingLost(owner);
  }

  @Test
  @Tag("slow")
  void aCancelledMoveLeavesNothing() throws Exception {
    Moving moving = new Moving("2097152");
    moving.awaitPhase("copying");
    String task = Xe.local(lab.alpha()).run("task-list", "name-label=VM.migrate_send", "--minimal");
    Xe.local(lab.alpha()).run("task-cancel", "uuid=" + task);
    assertThat(moving.xe.await().exit()).isEqualTo(1);
    moving.awaitRest();
    assertThat(moving.runsAt()).isSameAs(lab.alpha());
    moving.assertNothingLeft(lab.beta());
    moving.assertNothingLost(lab.alpha());
  }
}
