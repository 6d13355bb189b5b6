package io.xenferry.server.session;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.model.DataModel;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.MemoryDatabase;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.config.SessionConfig;
import io.xenferry.server.schema.Schema;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Sessions over time: those of users who lose what they were let in for, and those beyond limits.
 */
class SessionsTest {
  private static final int PER_ORIGINATOR = 3;

  @TempDir Path directory;
  private final Full db = new Full(MemoryDatabase.create());
  private final Person alice = new Person();
  private Instant now = Instant.parse("2026-01-01T00:00:00Z");
  private Sessions sessions;
  private String subject;

  /** On a disk that may be full: what only deletes succeeds. */
  private static final class Full implements ObjectDatabase {
    private final ObjectDatabase database;
    boolean full;

    Full(ObjectDatabase database) {
      this.database = database;
    }

    @Override
    public Snapshot snapshot() {
      return database.snapshot();
    }

    @Override
    public <R> R write(Work<R> work) throws XenApiException {
      return database.write(tx -> {
        int before = tx.rows("session").size();
        R result = work.run(tx);
        if (full && tx.rows("session").size() >= before) {
          throw new XenApiException("INTERNAL_ERROR", "the disk is full");
        }
        return result;
      });
    }

    @Override
    public Registration onCommit(Consumer<Snapshot> listener) {
      return database.onCommit(listener);
    }

    @Override
    public void close() {
      database.close();
    }
  }

  /** alice, u1, who is in the group g1 until she is not. */
  private static final class Person implements Accounts {
    boolean gone;
    boolean silent;
    List<String> groups = List.of("g1");

    @Override
    public void requireUsable() {}

    @Override
    public Optional<String> identifier(String name) {
      return Optional.of("u1");
    }

    @Override
    public Optional<SequencedMap<String, String>> information(String identifier)
        throws XenApiException {
      if (silent) {
        throw new XenApiException("AUTH_SERVICE_ERROR", "nobody answers");
      }
      return gone ? Optional.empty() : Optional.of(new LinkedHashMap<>());
    }

    @Override
    public List<String> groups(String identifier) {
      return groups;
    }

    @Override
    public Verdict authenticate(String name, String password) {
      return Verdict.RIGHT;
    }
  }

  private final Clock clock =
      new Clock() {
        @Override
        public java.time.ZoneId getZone() {
          return ZoneOffset.UTC;
        }

        @Override
        public Clock withZone(java.time.ZoneId zone) {
          return this;
        }

        @Override
        public Instant instant() {
          return now;
        }
      };

  @BeforeEach
  void open() throws Exception {
    db.change(tx -> {
      tx.create("host", Map.of("external_auth_type", Value.of(Subjects.PAM)));
      String role = tx.create("role", Map.of("name_label", Value.of("read-only")));
      subject =
          tx.create(
              "subject",
              Map.of(
                  "subject_identifier",
                  Value.of("g1"),
                  "roles",
                  new Value.Array(List.of(Value.of(role)))));
    });
    Schema schema = new Schema();
    sessions =
        new Sessions(
            db,
            schema,
            new Users(directory, 1000),
            new Subjects(db, schema, alice),
            new SessionConfig(
                Duration.ofDays(1), Duration.ofHours(1), PER_ORIGINATOR, 3, Duration.ZERO, 1000),
            clock);
  }

  @AfterEach
  void close() {
    db.close();
  }

  private String alice() throws Exception {
    return sessions.login("alice", "hers", "").ref();
  }

  private void after(Duration time) {
    now = now.plus(time);
  }

  private void assertInvalid(String session) {
    assertThatThrownBy(() -> sessions.check(session))
        .isInstanceOfSatisfying(
            XenApiException.class, e -> assertThat(e.code()).isEqualTo("SESSION_INVALID"));
    assertThat(sessions.isLive(session)).isFalse();
    assertThat(db.snapshot().row("session", session)).isEmpty();
  }

  private Value field(String session, String name) {
    return db.snapshot()
        .row("session", session)
        .orElseThrow()
        .get(DataModel.field("session", name).orElseThrow());
  }

  @Test
  void aUserWhoseAccountGoesIsOutHalfAnHourLater() throws Exception {
    String session = alice();
    alice.gone = true;
    after(Duration.ofMinutes(29));
    sessions.check(session);
    after(Duration.ofMinutes(2));
    assertInvalid(session);
  }

  @Test
  void aUserWhoIsStillThereIsAskedForEachHalfHour() throws Exception {
    String session = alice();
    for (int i = 0; i < 4; i++) {
      after(Duration.ofMinutes(31));
      sessions.check(session);
      assertThat(field(session, "validation_time")).isEqualTo(Value.of(now));
    }
    alice.groups = List.of();
    after(Duration.ofMinutes(31));
    assertInvalid(session);
  }

  @Test
  void whoHasOtherRolesByNowIsOut() throws Exception {
    String session = alice();
    db.change(tx -> {
      String role = tx.create("role", Map.of("name_label", Value.of("pool-admin")));
      tx.set(
          "subject",
          subject,
          DataModel.field("subject", "roles").orElseThrow(),
          new Value.Array(List.of(Value.of(role))));
    });
    after(Duration.ofMinutes(31));
    assertInvalid(session);
  }

  @Test
  void aUserOfWhomNobodyCanTellStays() throws Exception {
    String session = alice();
    alice.silent = true;
    after(Duration.ofMinutes(31));
    sessions.check(session);
    alice.silent = false;
    alice.gone = true;
    after(Duration.ofMinutes(31));
    assertInvalid(session);
  }

  @Test
  void rootOfThisServerIsNotAskedFor() throws Exception {
    alice.gone = true;
    String password = Files.readString(directory.resolve("root-password")).strip();
    String session = sessions.login("root", password, "").ref();
    after(Duration.ofHours(2));
    assertThat(sessions.check(session).superuser()).isTrue();
  }

  @Test
  void theOneThatWasNotUsedForLongestMakesRoomInTheSameCommit() throws Exception {
    List<String> ended = new ArrayList<>();
    sessions.onEnd(ended::add);
    List<String> open = new ArrayList<>();
    for (int i = 0; i < PER_ORIGINATOR; i++) {
      after(Duration.ofMinutes(1));
      open.add(sessions.openRoot("client").ref());
    }
    after(Duration.ofMinutes(1));
    sessions.check(open.getFirst());
    String other = sessions.openRoot("another").ref();
    long before = db.snapshot().generation();

    after(Duration.ofMinutes(1));
    String last = sessions.openRoot("client").ref();

    assertThat(db.snapshot().generation()).isEqualTo(before + 1);
    assertThat(ended).containsExactly(open.get(1));
    assertInvalid(open.get(1));
    for (String session : List.of(open.get(0), open.get(2), other, last)) {
      sessions.check(session);
    }
  }

  @Test
  void theOneThatMadeRoomHasEndedAlsoWhereTheNewOneCannotOpen() throws Exception {
    List<String> ended = new ArrayList<>();
    sessions.onEnd(ended::add);
    List<String> open = new ArrayList<>();
    for (int i = 0; i < PER_ORIGINATOR; i++) {
      after(Duration.ofMinutes(1));
      open.add(sessions.openRoot("client").ref());
    }
    db.full = true;

    assertThatThrownBy(() -> sessions.openRoot("client")).hasMessageContaining("full");

    assertThat(ended).containsExactly(open.getFirst());
    assertInvalid(open.getFirst());
    assertThat(db.snapshot().rows("session")).hasSize(PER_ORIGINATOR - 1);
    db.full = false;
    sessions.openRoot("client");
    sessions.check(open.get(1));
  }

  @Test
  void aSessionIsGoodAlsoWhereItsUseCannotBeNoted() throws Exception {
    String session = alice();
    Value then = field(session, "last_active");
    db.full = true;
    after(Duration.ofHours(2));
    assertThat(sessions.check(session).ref()).isEqualTo(session);
    assertThat(field(session, "last_active")).isEqualTo(then);
    assertThat(field(session, "validation_time")).isEqualTo(then);
  }
}
