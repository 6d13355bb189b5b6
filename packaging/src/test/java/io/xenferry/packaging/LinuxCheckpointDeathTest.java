package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.qemu.qmp.QmpClient;
import io.xenferry.spi.HypervisorException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * A server is killed while it takes a checkpoint of a Linux guest that writes: the guest goes on,
 * at the latest when the next server is there, and of its memory nothing is left.
 */
@Timeout(900)
@Tag("slow")
class LinuxCheckpointDeathTest {
  private static final Duration PATIENCE = Duration.ofSeconds(120);

  private enum Point {
    /** The new images are made, the memory is not yet sent. */
    IMAGES_MADE,
    MEMORY_UNDER_WAY,
    STANDING_STILL,
    /** The guest has gone on, with new images; the books do not say so yet. */
    GUEST_GOES_ON
  }

  private static Path repository(Site site) {
    return DiskFiles.repository(site, DiskFiles.QCOW2);
  }

  private static List<Path> images(Site site) throws IOException {
    try (Stream<Path> files = Files.list(repository(site))) {
      return files.filter(f -> f.toString().endsWith(".qcow2")).toList();
    }
  }

  @Test
  void theGuestGoesOnWhereverItsServerDies() throws Exception {
    try (Moves moves = Moves.linux("io.xenferry.server.ServerMain", "--target", "embedded")) {
      moves.startServers();
      moves.writing(2 << 20, 16 << 20).addVm(DiskFiles.QCOW2, 64L << 20);
      moves.start();
      Site site = moves.lab().alpha();
      try (Api api = new Api(site)) {
        api.text(
            "pool.set_suspend_image_SR",
            api.texts("pool.get_all").getFirst(),
            api.texts("SR.get_by_name_label", DiskFiles.RAW).getFirst());
      }
      for (Point point :
          List.of(
              Point.IMAGES_MADE,
              Point.MEMORY_UNDER_WAY,
              Point.STANDING_STILL,
              Point.STANDING_STILL,
              Point.STANDING_STILL,
              Point.GUEST_GOES_ON)) {
        String seen = strike(moves, site, point);
        site.start();
        try {
          assertWell(moves, site);
        } catch (AssertionError | RuntimeException e) {
          throw new AssertionError(point + " (" + seen + ")\n" + site.tailOfLog(), e);
        }
        System.out.println(point + " (" + seen + "): well");
      }
      try (Api api = new Api(site)) {
        String vm = api.text("VM.get_by_uuid", moves.vm());
        String checkpoint =
            ((Value.Text) api.call("VM.checkpoint", Value.of(vm), Value.of("then"))).text();
        assertThat(api.text("VM.get_power_state", checkpoint)).isEqualTo("Suspended");
      }
      moves.awaitWrites(20);
      moves.assertNothingLost(site);
    }
  }

  /** Begins a checkpoint, and kills the server there; what the guest was doing. */
  private static String strike(Moves moves, Site site, Point point) throws Exception {
    return switch (point) {
      case IMAGES_MADE -> strikeAtBooks(moves, site, false);
      case GUEST_GOES_ON -> strikeAtBooks(moves, site, true);
      case MEMORY_UNDER_WAY -> strikeAt(moves, site, "query-migrate", Set.of("active"));
      case STANDING_STILL ->
          strikeAt(moves, site, "query-status", Set.of("finish-migrate", "postmigrate", "paused"));
    };
  }

  private static Xe.Running checkpoint(Moves moves, Site site) throws Exception {
    return Xe.local(site).start("vm-checkpoint", "uuid=" + moves.vm(), "new-name-label=never");
  }

  private static String strikeAtBooks(Moves moves, Site site, boolean before) throws Exception {
    Xe.Running xe;
    try (BookStops stops = BookStops.of(site, repository(site).resolve("images.meta"))) {
      xe = checkpoint(moves, site);
      stops.awaitText("=switching", before);
      site.kill();
    }
    assertThat(xe.await().exit()).isNotZero();
    return "switching";
  }

  private static String strikeAt(Moves moves, Site site, String question, Set<String> answers)
      throws Exception {
    Path socket =
        site.stateDirectory().resolve("guests").resolve(moves.vm()).resolve("watchdog.sock");
    String[] seen = {""};
    Xe.Running xe;
    try (QmpClient monitor = QmpClient.connect(socket, PATIENCE, event -> {}, () -> {})) {
      xe = checkpoint(moves, site);
      await()
          .atMost(PATIENCE)
          .pollDelay(Duration.ZERO)
          .pollInterval(Duration.ofMillis(1))
          .until(() -> {
            seen[0] = ask(monitor, question);
            return answers.contains(seen[0]);
          });
      site.kill();
    }
    assertThat(xe.await().exit()).isNotZero();
    return seen[0];
  }

  private static String ask(QmpClient monitor, String question)
      throws HypervisorException, InterruptedException {
    return monitor.execute(question, Map.of(), PATIENCE).path("status").asText();
  }

  private static void assertWell(Moves moves, Site site) throws Exception {
    moves.awaitWrites(20);
    assertThat(moves.observer().boots()).isEqualTo(1);
    assertThat(moves.powerState(site)).contains("Running");
    try (Api api = new Api(site)) {
      String vm = api.text("VM.get_by_uuid", moves.vm());
      assertThat(api.text("VM.get_suspend_VDI", vm)).isEqualTo("OpaqueRef:NULL");
      assertThat(api.call("VM.get_current_operations", Value.of(vm))).isEqualTo(Value.EMPTY_STRUCT);
      assertThat(api.texts("VM.get_snapshots", vm)).isEmpty();
      for (String vdi : api.texts("VDI.get_all")) {
        assertThat(api.text("VDI.get_type", vdi)).isEqualTo("user");
        removeSnapshot(api, vdi);
      }
      assertThat(api.texts("VDI.get_all")).hasSize(1);
    }
    await()
        .atMost(PATIENCE)
        .untilAsserted(() -> assertThat(images(site)).as(site.tailOfLog()).hasSize(1));
    moves.awaitWrites(20);
    moves.assertNothingLost(site);
    moves.assertWrites();
  }

  /** Of a disk whose VM was never recorded as a snapshot. */
  private static void removeSnapshot(Api api, String vdi) throws XenApiException {
    if (api.call("VDI.get_is_a_snapshot", Value.of(vdi)).equals(Value.of(true))) {
      assertThat(api.texts("VDI.get_VBDs", vdi)).isEmpty();
      api.text("VDI.destroy", vdi);
    }
  }
}
