package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import com.fasterxml.jackson.databind.JsonNode;
import io.xenferry.model.XenApiException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import org.junit.jupiter.api.Test;

/** VMs that come back to where a move has left their disks. */
class ReturningMoveTest extends BetweenHosts {
  /** Moves it back to where it came from, and tells what that has cost. */
  private static JsonNode back(Traveller t, String moved, String base) throws Exception {
    move(destination, hosts.argumentsBack(moved, "verify", "full", "base", base));
    String id =
        hosts.there.server.coordinator().statuses().stream()
            .filter(s -> s.vm().toString().equals(t.uuid()))
            .filter(s -> s.role() == io.xenferry.migration.state.Role.SOURCE)
            .findFirst()
            .orElseThrow()
            .migration()
            .toString();
    return Rest.get(hosts.there, "/v1/migrations/" + id).path("report");
  }

  /** However long that takes on a machine that is busy. */
  private static void move(TestServer.Calls from, Object... arguments) throws Exception {
    String task = from.text("Async.VM.migrate_send", arguments);
    await()
        .atMost(TwoHosts.LONG.multipliedBy(2))
        .until(() -> !from.text("task.get_status", task).equals("pending"));
    assertThat(from.text("task.get_status", task))
        .as("%s", from.call("task.get_error_info", task))
        .isEqualTo("success");
  }

  /** Moves a VM there, its disks kept here. */
  private static String out(Traveller t) throws Exception {
    move(source, t.arguments("keep-source", "true", "verify", "full"));
    String moved = destination.text("VM.get_by_uuid", t.uuid());
    await().atMost(TwoHosts.LONG).until(() -> !source.text("VM.get_uuid", t.vm()).equals(t.uuid()));
    return moved;
  }

  private static void change(Path image, int... blocks) throws Exception {
    try (RandomAccessFile file = new RandomAccessFile(image.toFile(), "rw")) {
      for (int block : blocks) {
        file.seek(block * 65536L + 7);
        file.write(new byte[] {1, 2, 3, (byte) block});
      }
    }
  }

  private static Path image(Traveller t) throws Exception {
    return t.returned().getFirst();
  }

  @Test
  void sendsOnlyWhatHasChangedAndWhatIsDamaged() throws Exception {
    Traveller t = hosts.traveller("returning", 1);
    Path kept = hosts.image(t.uuids().getFirst());
    Path before = hosts.here.directory.resolve("returning.before");
    String moved = out(t);
    Path away = t.arrived(moved).getFirst();
    change(away, 3, 70);
    change(kept, 9, 100);
    Files.copy(away, before);

    JsonNode report = back(t, moved, "auto");

    assertThat(Files.mismatch(before, image(t))).as("first difference").isEqualTo(-1);
    assertThat(image(t)).as("another disk").isNotEqualTo(kept).exists();
    assertThat(report.path("sent").asLong()).as("sent").isBetween(1L, TwoHosts.SIZE / 10);
    assertThat(report.path("already-there").asLong()).isGreaterThan(TwoHosts.SIZE * 8 / 10);
    assertThat(report.path("verify").asText()).isEqualTo("full");
    assertThat(report.path("verified").asLong()).isGreaterThanOrEqualTo(TwoHosts.SIZE);
  }

  @Test
  void beginsEmptyWhereThatIsAsked() throws Exception {
    Traveller t = hosts.traveller("fresh", 1);
    Path before = hosts.here.directory.resolve("fresh.before");
    String moved = out(t);
    Files.copy(t.arrived(moved).getFirst(), before);

    JsonNode report = back(t, moved, "none");

    assertThat(Files.mismatch(before, image(t))).as("first difference").isEqualTo(-1);
    assertThat(report.path("already-there").asLong()).isZero();
    assertThat(report.path("sent").asLong()).isGreaterThan(TwoHosts.SIZE / 10);
  }

  /** One that a VM writes meanwhile would be no more than a guess, and is left alone. */
  @Test
  void beginsEmptyWhereTheBaseIsWritten() throws Exception {
    Traveller owner = hosts.traveller("owner", 1);
    owner.start();
    Traveller t = hosts.traveller("guest", 1);
    Path before = hosts.here.directory.resolve("guest.before");
    String moved = out(t);
    Files.copy(t.arrived(moved).getFirst(), before);

    JsonNode report = back(t, moved, owner.uuids().getFirst());

    assertThat(Files.mismatch(before, image(t))).as("first difference").isEqualTo(-1);
    assertThat(report.path("already-there").asLong()).isZero();
    assertThat(owner.powerState()).isEqualTo("Running");
    owner.end();
  }

  @Test
  void beginsAsTheImageThatIsNamed() throws Exception {
    String golden = source.vdi(from, "golden", TwoHosts.SIZE);
    Path image = hosts.image(source.text("VDI.get_uuid", golden));
    for (String each : new String[] {"golden", "spoilt"}) {
      Traveller t = hosts.traveller("of " + each, 1);
      Path before = hosts.here.directory.resolve(each + ".before");
      String moved = out(t);
      Files.copy(t.arrived(moved).getFirst(), before);
      Files.copy(before, image, StandardCopyOption.REPLACE_EXISTING);
      if (each.equals("spoilt")) {
        change(image, 0, 5, 40, 41, 127);
      }

      JsonNode report = back(t, moved, source.text("VDI.get_uuid", golden));

      assertThat(Files.mismatch(before, image(t))).as(each).isEqualTo(-1);
      assertThat(report.path("already-there").asLong()).as(each).isGreaterThan(TwoHosts.SIZE / 2);
    }
  }

  @Test
  void refusesABaseThatNoDiskCanHave() throws Exception {
    String larger = source.vdi(from, "larger", 2 * TwoHosts.SIZE);
    Traveller t = hosts.traveller("small", 1);
    String moved = out(t);
    for (String base :
        List.of(source.text("VDI.get_uuid", larger), "00000000-0000-4000-8000-000000000000")) {
      assertThatThrownBy(
              () -> destination.call("VM.migrate_send", hosts.argumentsBack(moved, "base", base)))
          .hasMessageContaining(base)
          .isInstanceOfSatisfying(
              XenApiException.class, e -> assertThat(e.code()).isEqualTo("INVALID_VALUE"));
      assertThat(destination.text("VM.get_power_state", moved)).isEqualTo("Halted");
    }
  }

  /** A guest that writes all the while, there and back. */
  @Test
  void aRunningVmComesBackToItsOldDisks() throws Exception {
    Traveller t = hosts.traveller("runner", 1);
    t.start();
    String moved = out(t);

    JsonNode report = back(t, moved, "auto");

    String vm = source.text("VM.get_by_uuid", t.uuid());
    source.call("VM.hard_shutdown", vm);
    assertThat(report.path("already-there").asLong()).isGreaterThan(TwoHosts.SIZE / 2);
    t.assertNothingLost(t.returned());
  }
}
