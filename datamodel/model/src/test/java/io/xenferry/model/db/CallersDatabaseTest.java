package io.xenferry.model.db;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Map;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;

/** The same of the one that has no thread. */
class CallersDatabaseTest extends DatabaseTest {
  @Override
  ObjectDatabase create() {
    return MemoryDatabase.onCallersThread(UUID::randomUUID);
  }

  @Test
  void itsNamesAreThoseThatItIsGiven() throws Exception {
    AtomicLong last = new AtomicLong();
    try (ObjectDatabase named =
        MemoryDatabase.onCallersThread(() -> new UUID(0, last.incrementAndGet()))) {
      String ref = named.write(tx -> tx.create("VM", Map.of()));
      assertThat(ref).isEqualTo("OpaqueRef:00000000-0000-0000-0000-000000000001");
      assertThat(named.snapshot().byUuid("VM", "00000000-0000-0000-0000-000000000002"))
          .hasValueSatisfying(row -> assertThat(row.ref()).isEqualTo(ref));
    }
  }
}
