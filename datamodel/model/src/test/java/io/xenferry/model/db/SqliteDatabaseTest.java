package io.xenferry.model.db;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.model.Ref;
import io.xenferry.model.Task;
import io.xenferry.model.VBD;
import io.xenferry.model.VDI;
import io.xenferry.model.VM;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Snapshot.Change;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SqliteDatabaseTest {
  @TempDir Path dir;

  private Path file() {
    return dir.resolve("xenferry.db");
  }

  @Test
  void everythingIsThereAfterARestartAndTokensGoOn() throws Exception {
    Ref<VM> vm;
    Ref<VBD> disk;
    Ref<VM> gone;
    long token;
    try (ObjectDatabase db = SqliteDatabase.open(file())) {
      vm =
          Ref.of(
              db.write(tx ->
                  tx.create(
                      "VM",
                      Map.of(
                          "name_label",
                          Value.of("über"),
                          "other_config",
                          Value.ofTexts(Map.of("k", "v"))))));
      Ref<VM> v = vm;
      disk = Ref.of(db.write(tx -> tx.create("VBD", Map.of("VM", Value.of(v)))));
      gone = Ref.of(db.write(tx -> tx.create("VM", Map.of())));
      db.write(tx -> tx.create("task", Map.of("name_label", Value.of("t"))));
      db.write(tx -> tx.create("session", Map.of()));
      token = db.snapshot().generation();
      Ref<VM> g = gone;
      db.write(tx -> {
        tx.delete("VM", g.opaque());
        return null;
      });
      db.write(tx -> tx.create("session", Map.of()));
    }
    try (ObjectDatabase db = SqliteDatabase.open(file())) {
      Snapshot s = db.snapshot();
      assertThat(s.get(vm, VM.NAME_LABEL)).isEqualTo("über");
      assertThat(s.get(vm, VM.OTHER_CONFIG)).containsEntry("k", "v");
      assertThat(s.get(vm, VM.VBDS)).containsExactly(disk);
      assertThat(s.<Task>refs(Task.CLASS)).hasSize(1);
      assertThat(s.rows("session")).as("sessions end with the server").isEmpty();
      assertThat(s.generation()).isGreaterThan(token);
      assertThat(s.changesSince(token))
          .singleElement()
          .satisfies(c -> {
            assertThat(c.kind()).isEqualTo(Change.Kind.DEL);
            assertThat(c.ref()).isEqualTo(gone.opaque());
          });
      Ref<VM> later = Ref.of(db.write(tx -> tx.create("VM", Map.of())));
      assertThat(db.snapshot().changesSince(s.generation()))
          .extracting(Change::ref)
          .containsExactly(later.opaque());
    }
    assertThat(DatabaseChecker.check(file())).isEmpty();
  }

  @Test
  void aSecondOpeningIsRefused() throws Exception {
    try (ObjectDatabase db = SqliteDatabase.open(file())) {
      assertThatThrownBy(() -> SqliteDatabase.open(file()))
          .isInstanceOf(DatabaseException.class)
          .hasMessageContaining("in use by another process");
    }
  }

  @Test
  void filesOfOthersNewerAndDamagedOnesAreRefused() throws Exception {
    Files.writeString(file(), "this is no database at all, but long enough to be looked at");
    assertThatThrownBy(() -> SqliteDatabase.open(file())).hasMessageContaining("is no database");
    Path foreign = dir.resolve("foreign.db");
    sql(foreign, "CREATE TABLE other (x)");
    assertThatThrownBy(() -> SqliteDatabase.open(foreign))
        .hasMessageContaining("database of something else");
    Path newer = dir.resolve("newer.db");
    SqliteDatabase.open(newer).close();
    sql(newer, "PRAGMA user_version=99");
    assertThatThrownBy(() -> SqliteDatabase.open(newer)).hasMessageContaining("newer version");
    Path damaged = dir.resolve("damaged.db");
    try (ObjectDatabase db = SqliteDatabase.open(damaged)) {
      for (int i = 0; i < 50; i++) {
        db.write(tx -> tx.create("VM", Map.of()));
      }
    }
    byte[] bytes = Files.readAllBytes(damaged);
    java.util.Arrays.fill(bytes, 8192, bytes.length - 4096, (byte) 0x5a);
    Files.write(damaged, bytes);
    assertThatThrownBy(() -> SqliteDatabase.open(damaged)).hasMessageContaining("damaged");
  }

  private static void sql(Path file, String statement) throws Exception {
    try (Connection c = DriverManager.getConnection("jdbc:sqlite:" + file);
        Statement s = c.createStatement()) {
      s.execute(statement);
    }
  }

  @Test
  void aBadFieldIsReportedAndTheRestLives() throws Exception {
    Ref<VM> vm;
    try (ObjectDatabase db = SqliteDatabase.open(file())) {
      vm = Ref.of(db.write(tx -> tx.create("VM", Map.of("name_label", Value.of("a")))));
    }
    sql(file(), "UPDATE object SET fields = json_set(fields, '$.power_state', 'Sideways')");
    assertThat(DatabaseChecker.check(file()))
        .singleElement()
        .satisfies(f -> assertThat(f.detail()).contains("power_state").contains("Sideways"));
    try (ObjectDatabase db = SqliteDatabase.open(file())) {
      assertThat(db.snapshot().get(vm, VM.NAME_LABEL)).isEqualTo("a");
    }
  }

  /** Commits pairs for ever, and says each generation that was acknowledged. */
  static final class Committer {
    public static void main(String[] args) throws Exception {
      ObjectDatabase db = SqliteDatabase.open(Path.of(args[0]));
      for (int t = 0; t < 4; t++) {
        int thread = t;
        Thread.ofPlatform()
            .start(() -> {
              try {
                for (int i = 0; ; i++) {
                  String name = thread + "-" + i;
                  db.write(tx -> {
                    tx.create("VM", Map.of("name_label", Value.of(name)));
                    tx.create("VDI", Map.of("name_label", Value.of(name)));
                    return null;
                  });
                  System.out.println(name);
                }
              } catch (XenApiException e) {
                throw new AssertionError(e);
              }
            });
      }
    }
  }

  @Test
  void whatWasAcknowledgedSurvivesAKill() throws Exception {
    for (int round = 0; round < 3; round++) {
      Path path = dir.resolve("kill" + round + ".db");
      List<String> acknowledged = new ArrayList<>();
      Process child =
          new ProcessBuilder(
                  Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                  "--enable-native-access=ALL-UNNAMED",
                  "-XX:+UseSerialGC",
                  "-Xshare:auto",
                  "-cp",
                  System.getProperty("java.class.path"),
                  Committer.class.getName(),
                  path.toString())
              .redirectError(ProcessBuilder.Redirect.DISCARD)
              .start();
      try (BufferedReader out =
          new BufferedReader(
              new InputStreamReader(child.getInputStream(), StandardCharsets.UTF_8))) {
        while (acknowledged.size() < 150 + 37 * round) {
          String line = out.readLine();
          assertThat(line).as("the child lives").isNotNull();
          acknowledged.add(line);
        }
        child.destroyForcibly();
        try {
          for (String line = out.readLine(); line != null; line = out.readLine()) {
            acknowledged.add(line);
          }
        } catch (IOException e) {
          // The pipe of a killed process may close first.
        }
      }
      assertThat(child.waitFor(10, TimeUnit.SECONDS)).isTrue();
      // The last line may have been cut.
      acknowledged.removeLast();
      try (ObjectDatabase db = SqliteDatabase.open(path)) {
        List<String> vms =
            db.snapshot().rows("VM").stream().map(r -> r.get(VM.NAME_LABEL)).toList();
        List<String> vdis =
            db.snapshot().rows("VDI").stream().map(r -> r.get(VDI.NAME_LABEL)).toList();
        assertThat(vms).containsAll(acknowledged).doesNotHaveDuplicates();
        assertThat(vdis).as("transactions are whole").isEqualTo(vms);
      }
    }
  }

  @Test
  void deletionsAreRememberedWithinBounds() throws Exception {
    List<String> refs = new ArrayList<>();
    long before;
    try (ObjectDatabase db = SqliteDatabase.open(file())) {
      db.change(tx -> {
        for (int i = 0; i < State.DELETIONS_KEPT + 2_500; i++) {
          refs.add(tx.create("VIF_metrics", Map.of()));
        }
      });
      before = db.snapshot().generation();
      for (int i = 0; i < refs.size(); i += 500) {
        List<String> some = refs.subList(i, i + 500);
        db.change(tx -> {
          for (String ref : some) {
            tx.delete("VIF_metrics", ref);
          }
        });
      }
      assertThat(db.snapshot().changesSince(before)).hasSize(State.DELETIONS_KEPT);
    }
    try (ObjectDatabase db = SqliteDatabase.open(file())) {
      assertThat(db.snapshot().changesSince(before))
          .as("after a restart, too")
          .hasSize(State.DELETIONS_KEPT)
          .last()
          .satisfies(c -> assertThat(c.ref()).isEqualTo(refs.getLast()));
    }
  }
}
