package io.xenferry.server.vm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.MemoryDatabase;
import io.xenferry.model.db.ObjectDatabase;
import java.time.Duration;
import java.util.Map;
import java.util.UUID;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class GuestClockTest {
  private final ObjectDatabase database = MemoryDatabase.create();
  private final GuestClock clock = new GuestClock(database, Duration.ofMillis(2));
  private final UUID uuid = UUID.randomUUID();
  private Ref<VM> vm;

  @BeforeEach
  void makeVm() throws Exception {
    vm =
        database.write(tx -> new Ref<>(tx.create("VM", Map.of("uuid", Value.of(uuid.toString())))));
  }

  private String offset() throws XenApiException {
    return database.snapshot().get(vm, VM.PLATFORM).getOrDefault("timeoffset", "");
  }

  private void set(String offset) throws XenApiException {
    database.change(tx -> tx.set(vm, VM.PLATFORM, Map.of("timeoffset", offset, "vga", "std")));
  }

  @Test
  void theLastOfManyWordsCounts() throws Exception {
    for (int hours = 1; hours <= 200; hours++) {
      clock.tell(uuid, Duration.ofHours(hours));
    }
    await().until(() -> offset().equals(Integer.toString(200 * 3600)));
    clock.tell(uuid, Duration.ofHours(-1));
    await().until(() -> offset().equals("-3600"));
  }

  @Test
  void whatIsNoClockIsReplacedAndTheRestOfTheMapStays() throws Exception {
    set("soon");
    assertThatThrownBy(() -> GuestClock.of(database.snapshot(), vm))
        .isInstanceOfSatisfying(
            XenApiException.class,
            e -> assertThat(e.params()).containsExactly("platform:timeoffset", "soon"));
    clock.tell(uuid, Duration.ZERO);
    await().until(() -> offset().equals("0"));
    assertThat(database.snapshot().get(vm, VM.PLATFORM)).containsEntry("vga", "std");
  }

  /** Each record is an event for every client. */
  @Test
  void littleIsNotRecordedNorWhatNoMachineCanBeginWith() throws Exception {
    set("7200");
    clock.tell(uuid, Duration.ofSeconds(7201));
    clock.tell(uuid, Duration.ofDays(365 * 40));
    clock.tell(UUID.randomUUID(), Duration.ofHours(1));
    assertThat(GuestClock.of(database.snapshot(), vm)).isEqualTo(Duration.ofHours(2));
    clock.tell(uuid, Duration.ofSeconds(7198));
    await().until(() -> offset().equals("7198"));
  }
}
