package io.xenferry.server.metrics;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.xenferry.spi.Guest;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.Hardware;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import io.xenferry.spi.Usage;
import java.lang.reflect.Proxy;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ProbesTest {
  private static final UUID VM = UUID.randomUUID();
  private static final UUID VDI = UUID.randomUUID();
  private static final long SECOND = 1_000_000_000;
  private static final long NOON = 1_800_000_000;

  @TempDir Path directory;

  private final AtomicLong clock = new AtomicLong();
  private final AtomicReference<Usage> usage = new AtomicReference<>();
  private final AtomicInteger asked = new AtomicInteger();

  /** Taken by each question; a guest that hangs has none to give. */
  private final Semaphore answers = new Semaphore(100);

  private Figures figures() {
    return new Figures(new ArchiveFiles(directory));
  }

  private Guest guest() {
    GuestSpec spec =
        new GuestSpec(
            VM,
            "busy",
            64 << 20,
            2,
            List.of(new GuestSpec.Disk("xvda", VDI, Path.of("none"), "raw", false)),
            List.of(),
            Map.of());
    Hardware hardware = proxy(Hardware.class, (name, args) -> spec);
    return proxy(
        Guest.class,
        (name, args) ->
            switch (name) {
              case "vm" -> VM;
              case "hardware" -> hardware;
              case "usage" -> {
                asked.incrementAndGet();
                if (!answers.tryAcquire(60, TimeUnit.SECONDS)) {
                  throw new HypervisorException(Kind.TIMEOUT, "no answer");
                }
                Usage now = usage.get();
                if (now == null) {
                  throw new HypervisorException(Kind.TIMEOUT, "no answer");
                }
                yield now;
              }
              default -> throw new UnsupportedOperationException(name);
            });
  }

  private interface Answer {
    Object to(String name, Object[] arguments) throws Exception;
  }

  private static <T> T proxy(Class<T> type, Answer answer) {
    return type.cast(
        Proxy.newProxyInstance(
            type.getClassLoader(),
            new Class<?>[] {type},
            (self, method, args) -> answer.to(method.getName(), args)));
  }

  private void ask(GuestProbe probe, long seconds) throws InterruptedException {
    CountDownLatch done = new CountDownLatch(1);
    probe.ask(seconds, done::countDown);
    assertThat(done.await(60, TimeUnit.SECONDS)).isTrue();
  }

  private static double value(Figures figures, Owner owner, String name) {
    return figures.find(owner, name).orElseThrow().value().orElse(Double.NaN);
  }

  @Test
  void countersBecomeRates() throws Exception {
    Figures figures = figures();
    GuestProbe probe = new GuestProbe(guest(), figures, clock::get, Duration.ofSeconds(1));
    usage.set(
        new Usage(
            List.of(0L, 0L),
            OptionalLong.of(0),
            OptionalLong.of(64 << 20),
            OptionalLong.of(8192),
            Map.of("xvda", new Usage.Disk(0, 0, 0, 0, 0, 0)),
            Map.of("0", new Usage.Nic(0, 0))));
    ask(probe, NOON);
    clock.set(5 * SECOND);
    usage.set(
        new Usage(
            List.of(5 * SECOND / 2, 6 * SECOND),
            OptionalLong.of(20 * SECOND),
            OptionalLong.of(32 << 20),
            OptionalLong.of(4096),
            Map.of("xvda", new Usage.Disk(5000, 10_000, 0, 10, 0, 20_000_000)),
            Map.of("0", new Usage.Nic(500, 1000))));
    ask(probe, NOON + 5);
    Owner owner = probe.owner();
    assertThat(value(figures, owner, "cpu0")).isEqualTo(0.5);
    assertThat(value(figures, owner, "cpu1")).as("never more than one").isEqualTo(1);
    assertThat(value(figures, owner, "cpu_usage")).isEqualTo(0.75);
    assertThat(value(figures, owner, "memory")).isEqualTo(32 << 20);
    assertThat(value(figures, owner, "memory_internal_free")).isEqualTo(4);
    assertThat(value(figures, owner, "vbd_xvda_read")).isEqualTo(1000);
    assertThat(value(figures, owner, "vbd_xvda_write")).isEqualTo(2000);
    assertThat(value(figures, owner, "vbd_xvda_iops_total")).isEqualTo(2);
    assertThat(value(figures, owner, "vbd_xvda_write_latency")).isEqualTo(2000);
    assertThat(value(figures, owner, "vbd_xvda_read_latency")).as("of no reads").isNaN();
    assertThat(value(figures, owner, "vif_0_rx")).isEqualTo(100);
    assertThat(probe.throughput()).containsEntry(VDI, new GuestProbe.Throughput(1000, 2000));

    clock.set(10 * SECOND);
    usage.set(
        new Usage(
            List.of(),
            OptionalLong.of(25 * SECOND),
            OptionalLong.empty(),
            OptionalLong.empty(),
            Map.of("xvda", new Usage.Disk(0, 0, 0, 0, 0, 0)),
            Map.of()));
    ask(probe, NOON + 10);
    assertThat(value(figures, owner, "cpu1")).as("a process that is shared out").isEqualTo(0.5);
    assertThat(probe.throughput()).as("counters that began anew").isEmpty();
  }

  @Test
  void oneThatDoesNotAnswerIsLeftAlone() throws Exception {
    GuestProbe probe = new GuestProbe(guest(), figures(), clock::get, Duration.ofSeconds(1));
    ask(probe, NOON);
    assertThat(asked).hasValue(1);
    for (int i = 5; i < GuestProbe.PATIENCE; i += 5) {
      ask(probe, NOON + i);
    }
    assertThat(asked).hasValue(1);
    ask(probe, NOON + GuestProbe.PATIENCE);
    assertThat(asked).hasValue(2);
    ask(probe, NOON - 100_000);
    assertThat(asked).as("when the clock was set back").hasValue(3);
  }

  @Test
  void oneQuestionIsOnItsWayAtMost() throws Exception {
    answers.drainPermits();
    GuestProbe probe = new GuestProbe(guest(), figures(), clock::get, Duration.ofSeconds(1));
    CountDownLatch first = new CountDownLatch(1);
    probe.ask(NOON, first::countDown);
    for (int i = 5; i < 500; i += 5) {
      ask(probe, NOON + i);
    }
    assertThat(asked.get()).isLessThanOrEqualTo(1);
    assertThat(first.getCount()).isEqualTo(1);
    answers.release(100);
    assertThat(first.await(60, TimeUnit.SECONDS)).isTrue();
    assertThat(asked).hasValue(1);
  }

  @Test
  void theHostIsAsItsKernelSays() throws Exception {
    Figures figures = figures();
    Owner owner = new Owner(Owner.Kind.HOST, UUID.randomUUID().toString());
    HostProbe probe = new HostProbe(directory, owner, figures);
    Files.createDirectories(directory.resolve("net"));
    Files.writeString(
        directory.resolve("meminfo"),
        "MemTotal:  4000 kB\nMemFree:  10 kB\nMemAvailable:  1000 kB\n");
    Files.writeString(directory.resolve("loadavg"), "0.25 0.30 0.35 1/200 4242\n");
    Files.writeString(
        directory.resolve("stat"), "cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 0 0 0 0 0 0 0 0 0 0\nintr 1\n");
    String head = "Inter-|   Receive\n face |bytes\n";
    Files.writeString(
        directory.resolve("net/dev"), head + "  eth0: 0 1 0 0 0 0 0 0 0 1 0 0 0 0 0 0\n");
    probe.look(NOON, 0, Set.of("eth0"));
    Files.writeString(
        directory.resolve("stat"),
        "cpu  100 0 100 700 100 0 0 0 100 0\ncpu0 100 0 100 700 100 0 0 0 100 0\nintr 1\n");
    Files.writeString(
        directory.resolve("net/dev"),
        head + "  eth0:5000 1 0 0 0 0 0 0 10000 1 0 0 0 0 0 0\n    lo: 7 0 0 0 0 0 0 0 7 0\n");
    probe.look(NOON + 5, 5 * SECOND, Set.of("eth0"));
    assertThat(value(figures, owner, "cpu0")).isCloseTo(0.2, within(1e-9));
    assertThat(value(figures, owner, "cpu_avg")).isCloseTo(0.2, within(1e-9));
    assertThat(value(figures, owner, "loadavg")).isEqualTo(0.25);
    assertThat(value(figures, owner, "memory_total_kib")).isEqualTo(4000);
    assertThat(value(figures, owner, "memory_free_kib")).isEqualTo(1000);
    assertThat(value(figures, owner, "pif_eth0_rx")).isEqualTo(1000);
    assertThat(value(figures, owner, "pif_eth0_tx")).isEqualTo(2000);
    assertThat(figures.list(owner)).noneMatch(one -> one.name().contains("lo_"));

    Files.writeString(directory.resolve("stat"), "cpu  x\n");
    Files.delete(directory.resolve("loadavg"));
    probe.look(NOON + 10, 10 * SECOND, Set.of());
    assertThat(value(figures, owner, "loadavg")).as("as it was last seen").isEqualTo(0.25);
  }
}
