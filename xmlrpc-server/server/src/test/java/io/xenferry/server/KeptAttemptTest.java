package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import com.fasterxml.jackson.databind.JsonNode;
import io.xenferry.migration.state.Role;
import io.xenferry.model.Ref;
import io.xenferry.model.VDI;
import io.xenferry.model.Value;
import io.xenferry.server.storage.MigrationDisks;
import io.xenferry.server.storage.MigrationDisks.Origin;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What a move that comes to nothing leaves at the destination, where it is told to. */
class KeptAttemptTest {
  private static final String UNTIL = "xenferry:keep-until";

  private TwoHosts hosts;

  @BeforeEach
  void start() throws Exception {
    hosts = TwoHosts.startDurable();
  }

  @AfterEach
  void stop() throws Exception {
    hosts.close();
  }

  private JsonNode status(Traveller t) throws Exception {
    String id =
        hosts.here.server.coordinator().statuses().stream()
            .filter(s -> s.vm().toString().equals(t.uuid()) && s.role() == Role.SOURCE)
            .filter(s -> !s.ended())
            .findFirst()
            .orElseThrow()
            .migration()
            .toString();
    return Rest.get(hosts.here, "/v1/migrations/" + id);
  }

  /** Moves it until a good part of its disk is there, and cancels that. */
  private void attempt(Traveller t, String keep) throws Exception {
    String task = t.moveAsync("cutover", "hold", "keep-attempt", keep);
    hosts.awaitPhase(t, "following the guest's writes");
    JsonNode now = status(t);
    assertThat(now.path("report").path("sent").asLong()).as(now.toString()).isPositive();
    hosts.source.call("task.cancel", task);
    await()
        .atMost(TwoHosts.LONG)
        .until(() -> hosts.source.text("task.get_status", task).equals("cancelled"));
    assertThat(t.powerState()).isEqualTo("Running");
  }

  private List<String> vdis() throws Exception {
    return hosts.destination.all("VDI");
  }

  /** Of both maps. */
  private Map<String, Value> config(String vdi) throws Exception {
    Map<String, Value> all = new LinkedHashMap<>();
    for (String map : List.of("VDI.get_sm_config", "VDI.get_other_config")) {
      all.putAll(((Value.Struct) hosts.destination.call(map, vdi)).members());
    }
    return all;
  }

  private Path image(String vdi) throws Exception {
    return StorageTest.image(
        hosts.there.directory.resolve("sr"), hosts.destination.text("VDI.get_uuid", vdi));
  }

  @Test
  void theNextMoveGoesOnWithIt() throws Exception {
    Traveller t = hosts.traveller("again", 1);
    t.start();
    attempt(t, "12h");
    assertThat(vdis()).hasSize(1);
    String left = vdis().getFirst();
    assertThat(config(left)).containsKey(UNTIL).doesNotContainKey("xenferry-migration");
    assertThat(hosts.destination.text("VDI.get_name_label", left)).contains("came to nothing");
    Path image = image(left);
    // Nobody sweeps what is not due, and nothing of it is an orphan.
    hosts.restartDestination();
    assertThat(vdis()).containsExactly(left);

    String moved = t.move("verify", "full");

    assertThat(vdis()).as("the disk itself").containsExactly(left);
    assertThat(hosts.destination.text("VDI.get_name_label", left)).isEqualTo("again0");
    assertThat(config(left)).doesNotContainKeys(UNTIL, "xenferry-base", "xenferry-migration");
    JsonNode report = report(t);
    // Half of it is zeroes, and the guest writes on.
    assertThat(report.path("already-there").asLong()).isGreaterThan(TwoHosts.SIZE / 8);
    assertThat(image).exists();
    hosts.destination.call("VM.hard_shutdown", moved);
    t.assertNothingLost(List.of(image));
  }

  /**
   * A server that dies while it takes one up has a record with the new uuid, and the SR knows the
   * disk by the old one.
   */
  @Test
  void oneThatIsHalfTakenUpIsOneDisk() throws Exception {
    Traveller t = hosts.traveller("half", 1);
    t.start();
    attempt(t, "12h");
    Ref<VDI> left = new Ref<>(vdis().getFirst());
    UUID old = UUID.fromString(hosts.destination.text("VDI.get_uuid", left.opaque()));
    UUID vdi = UUID.randomUUID();
    hosts.there.server.context().db().change(tx -> tx.set(left, VDI.UUID, vdi.toString()));
    hosts.destination.call("SR.scan", hosts.to);
    assertThat(vdis()).containsExactly(left.opaque());
    assertThat(hosts.destination.text("VDI.get_uuid", left.opaque())).isEqualTo(vdi.toString());

    MigrationDisks disks = hosts.there.server.storage().migrationDisks();
    Origin origin = new Origin(UUID.fromString(t.uuids().getFirst()), Optional.empty());
    String tag = UUID.randomUUID().toString();
    for (int again = 0; again < 2; again++) {
      assertThat(
              disks.create(
                  hosts.to, vdi, TwoHosts.SIZE, tag, Optional.empty(), Optional.of(origin)))
          .isTrue();
      assertThat(vdis()).containsExactly(left.opaque());
      assertThat(config(left.opaque()))
          .containsKeys("xenferry-migration", "xenferry-base")
          .doesNotContainKey(UNTIL);
      assertThat(disks.tagged()).containsEntry(vdi, tag).doesNotContainKey(old);
    }
    disks.destroyTagged(vdi, tag);
    assertThat(vdis()).isEmpty();
    t.end();
  }

  private JsonNode report(Traveller t) throws Exception {
    String id =
        hosts.here.server.coordinator().statuses().stream()
            .filter(s -> s.vm().toString().equals(t.uuid()) && s.role() == Role.SOURCE)
            .reduce((earlier, later) -> later)
            .orElseThrow()
            .migration()
            .toString();
    return Rest.get(hosts.here, "/v1/migrations/" + id).path("report");
  }

  @Test
  void oneThatSomebodyUsesIsLeftAlone() throws Exception {
    Traveller t = hosts.traveller("used", 1);
    t.start();
    attempt(t, "1d");
    String left = vdis().getFirst();
    String user = hosts.destination.vm("user", Map.of());
    hosts.destination.vbd(user, left, 0);
    due(left);
    hosts.restartDestination();
    assertThat(vdis()).containsExactly(left);
    assertThat(config(left)).as("it is the VM's now").doesNotContainKey(UNTIL);
    hosts.destination.call("VM.destroy", user);

    t.move("base", "auto");

    assertThat(vdis()).hasSize(2).contains(left);
    hosts.restartDestination();
    assertThat(vdis()).hasSize(2).contains(left);
  }

  @Test
  void neitherOneThatIsToStayNorACopyOfOneIsTakenUp() throws Exception {
    Traveller t = hosts.traveller("stays", 1);
    t.start();
    attempt(t, "1d");
    String left = vdis().getFirst();
    String clone = hosts.destination.text("VDI.clone", left);
    hosts.destination.call("VDI.remove_from_other_config", left, UNTIL);

    t.move();

    assertThat(vdis()).hasSize(3).contains(left, clone);
    due(clone);
    hosts.restartDestination();
    assertThat(vdis()).hasSize(3);
  }

  /** Beside what is there the disk would not fit. */
  @Test
  void whatIsThereNeedsNoRoom() throws Exception {
    Traveller t = hosts.traveller("room", 1);
    t.start();
    attempt(t, "1d");
    MigrationDisks disks = hosts.there.server.storage().migrationDisks();
    Origin origin = new Origin(UUID.fromString(t.uuids().getFirst()), Optional.empty());
    assertThat(disks.thereOf(hosts.to, TwoHosts.SIZE, Optional.empty(), origin))
        .isBetween(1L << 20, TwoHosts.SIZE);
    assertThat(disks.thereOf(hosts.to, 2 * TwoHosts.SIZE, Optional.empty(), origin)).isZero();
    assertThat(disks.thereOf(hosts.to, TwoHosts.SIZE, Optional.of("qcow2"), origin)).isZero();
    t.end();
  }

  @Test
  void aDiskThatTheSrDoesNotNoteIsAsItWas() throws Exception {
    UUID vdi = UUID.randomUUID();
    String tag = UUID.randomUUID().toString();
    MigrationDisks disks = hosts.there.server.storage().migrationDisks();
    Origin origin = new Origin(UUID.randomUUID(), Optional.empty());
    disks.create(hosts.to, vdi, TwoHosts.SIZE, tag, Optional.empty(), Optional.of(origin));
    String ref = hosts.destination.text("VDI.get_by_uuid", vdi.toString());
    try (var image = new RandomAccessFile(image(ref).toFile(), "rw")) {
      image.write(new byte[2 << 20]);
    }
    final Map<String, Value> before = hosts.destination.record("VDI", ref);
    // In the place of what the SR's record of it is written to.
    Path obstacle = image(ref).resolveSibling(vdi + ".vdi.new");
    Files.createDirectory(obstacle);
    Files.createFile(obstacle.resolve("in the way"));

    disks.keepAttempt(vdi, tag, Instant.now().plus(Duration.ofHours(1)));

    assertThat(hosts.destination.record("VDI", ref)).isEqualTo(before);
    Files.delete(obstacle.resolve("in the way"));
    Files.delete(obstacle);
    disks.keepAttempt(vdi, tag, Instant.now().plus(Duration.ofHours(1)));
    assertThat(config(ref)).containsKey(UNTIL);
  }

  @Test
  void goesWhenItIsDueAndIsNotThereAtAllUnlessAskedFor() throws Exception {
    Traveller t = hosts.traveller("due", 1);
    t.start();
    attempt(t, "false");
    assertThat(vdis()).isEmpty();
    Instant before = Instant.now();
    attempt(t, "2h");
    String left = vdis().getFirst();
    String until = ((Value.Text) config(left).get(UNTIL)).text();
    assertThat(Instant.parse(until))
        .isBetween(before.plus(Duration.ofMinutes(110)), before.plus(Duration.ofMinutes(130)));
    Path image = image(left);
    due(left);
    assertThat(Files.exists(image)).isTrue();
    hosts.restartDestination();
    assertThat(vdis()).isEmpty();
    assertThat(image).doesNotExist();
    t.end();
  }

  private void due(String vdi) throws Exception {
    hosts.destination.call("VDI.remove_from_other_config", vdi, UNTIL);
    hosts.destination.call("VDI.add_to_other_config", vdi, UNTIL, "2001-01-01T00:00:00Z");
  }
}
