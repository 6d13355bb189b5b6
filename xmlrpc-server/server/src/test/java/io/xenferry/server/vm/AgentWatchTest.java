package io.xenferry.server.vm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.VMGuestMetrics;
import io.xenferry.model.Value;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.db.MemoryDatabase;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.spi.AgentReport;
import io.xenferry.spi.Guest;
import io.xenferry.spi.GuestAgent;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import java.lang.reflect.Proxy;
import java.time.Clock;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** When agents are asked, and what is recorded of their answers. */
@Timeout(120)
class AgentWatchTest {
  private static final Duration LONG = Duration.ofSeconds(60);
  private static final Duration SOON = Duration.ofMillis(20);
  private static final String MAC = "02:00:00:00:00:0A";

  private final ObjectDatabase database = MemoryDatabase.create();
  private final AgentRecords records = new AgentRecords(database, Clock.systemUTC());
  private final AgentWatch watch =
      new AgentWatch(records, new AgentWatch.Pace(SOON, LONG, SOON, LONG));
  private Ref<VM> vm;
  private Agent agent;

  @BeforeEach
  void makeVm() throws Exception {
    agent = new Agent();
    vm = vm(agent.guest);
  }

  @AfterEach
  void close() {
    watch.close();
    agent.hangs.countDown();
  }

  private Ref<VM> vm(UUID uuid) throws Exception {
    return database.write(tx -> {
      Ref<VM> made = new Ref<>(tx.create("VM", Map.of("uuid", Value.of(uuid.toString()))));
      tx.set(made, VM.POWER_STATE, VmPowerState.RUNNING);
      String network = tx.create("network", Map.of());
      tx.create(
          "VIF",
          Map.of(
              "VM", Value.of(made),
              "network", Value.of(new Ref<>(network)),
              "device", Value.of("2"),
              "MAC", Value.of(MAC)));
      return made;
    });
  }

  /** A guest and its agent. */
  private static final class Agent implements GuestAgent {
    final UUID guest = UUID.randomUUID();
    final AtomicInteger looks = new AtomicInteger();
    final AtomicInteger questions = new AtomicInteger();
    final AtomicInteger asked = new AtomicInteger();
    final AtomicReference<Optional<AgentReport>> answer = new AtomicReference<>(Optional.empty());
    final List<Consumer<Guest.State>> listeners = new CopyOnWriteArrayList<>();
    final CountDownLatch hangs = new CountDownLatch(1);
    volatile boolean hang;
    volatile boolean present = true;
    volatile Guest.State state = Guest.State.RUNNING;

    @Override
    public boolean present() {
      questions.incrementAndGet();
      return present;
    }

    @Override
    public AgentReport ask(Duration deadline) throws HypervisorException, InterruptedException {
      asked.incrementAndGet();
      if (hang) {
        hangs.await();
      }
      return answer
          .get()
          .orElseThrow(() -> new HypervisorException(Kind.TIMEOUT, "it does not answer"));
    }

    @Override
    public void shutdown(Duration deadline) {
      throw new UnsupportedOperationException();
    }

    @Override
    public AutoCloseable onChange(Runnable listener) {
      return () -> {};
    }

    @SuppressWarnings("unchecked")
    Guest asGuest() {
      return (Guest)
          Proxy.newProxyInstance(
              Guest.class.getClassLoader(),
              new Class<?>[] {Guest.class},
              (self, method, args) ->
                  switch (method.getName()) {
                    case "vm" -> guest;
                    case "agent" -> Optional.of(this);
                    case "state" -> {
                      looks.incrementAndGet();
                      yield state;
                    }
                    case "onChange" -> {
                      listeners.add((Consumer<Guest.State>) args[0]);
                      yield (AutoCloseable) () -> {};
                    }
                    default -> throw new UnsupportedOperationException(method.getName());
                  });
    }

    void awaitMore(AtomicInteger counter) {
      int before = counter.get();
      await().atMost(LONG).until(() -> counter.get() >= before + 2);
    }
  }

  private static AgentReport report(String hostName, String... ipv4) {
    return new AgentReport(
        "7.2.11",
        Map.of("name", "Debian", "major", "12"),
        hostName,
        List.of(
            new AgentReport.Interface(
                "02:00:00:00:00:0a", List.of(ipv4), List.of("fe80::1", "2001:db8::1")),
            new AgentReport.Interface("02:42:00:00:00:01", List.of("172.17.0.1"), List.of())));
  }

  private Ref<VMGuestMetrics> metrics() throws Exception {
    return database.snapshot().get(vm, VM.GUEST_METRICS);
  }

  private boolean live() throws Exception {
    return !metrics().isNull() && database.snapshot().get(metrics(), VMGuestMetrics.LIVE);
  }

  @Test
  void theRecordIsMadeWhenTheAgentFirstAnswersAndFollowsIt() throws Exception {
    watch.follow(agent.asGuest());
    agent.awaitMore(agent.asked);
    assertThat(metrics().isNull()).as("before it has answered").isTrue();

    agent.answer.set(Optional.of(report("vm7", "192.0.2.7", "192.0.2.8")));
    await().atMost(LONG).until(this::live);
    var db = database.snapshot();
    assertThat(db.get(metrics(), VMGuestMetrics.NETWORKS))
        .containsOnly(
            Map.entry("2/ip", "192.0.2.7"),
            Map.entry("2/ipv4/0", "192.0.2.7"),
            Map.entry("2/ipv4/1", "192.0.2.8"),
            Map.entry("2/ipv6/0", "2001:db8::1"),
            Map.entry("2/ipv6/1", "fe80::1"));
    assertThat(db.get(metrics(), VMGuestMetrics.OS_VERSION))
        .containsOnly(Map.entry("name", "Debian"), Map.entry("major", "12"));
    assertThat(db.get(metrics(), VMGuestMetrics.PV_DRIVERS_VERSION))
        .containsOnly(Map.entry("major", "7"), Map.entry("minor", "2"), Map.entry("micro", "11"));
    assertThat(db.get(metrics(), VMGuestMetrics.PV_DRIVERS_DETECTED)).isTrue();

    // The same answer writes nothing, so that no client is woken.
    AtomicInteger commits = new AtomicInteger();
    try (var counting = database.onCommit(s -> commits.incrementAndGet())) {
      agent.awaitMore(agent.asked);
      assertThat(commits.get()).isZero();
      agent.answer.set(Optional.of(report("vm7")));
      await()
          .atMost(LONG)
          .until(() ->
              !database.snapshot().get(metrics(), VMGuestMetrics.NETWORKS).containsKey("2/ip"));
    }
  }

  @Test
  void oneThatFallsSilentIsShownSoAndComesBack() throws Exception {
    agent.answer.set(Optional.of(report("vm7")));
    watch.follow(agent.asGuest());
    await().atMost(LONG).until(this::live);
    agent.answer.set(Optional.empty());
    await().atMost(LONG).until(() -> !live());
    agent.answer.set(Optional.of(report("vm7")));
    await().atMost(LONG).until(this::live);
    agent.present = false;
    await().atMost(LONG).until(() -> !live());
    int asked = agent.asked.get();
    agent.awaitMore(agent.questions);
    assertThat(agent.asked.get()).as("without a program nobody is asked").isEqualTo(asked);
  }

  @Test
  void aGuestThatStandsStillIsNotAsked() throws Exception {
    agent.answer.set(Optional.of(report("vm7")));
    watch.follow(agent.asGuest());
    await().atMost(LONG).until(this::live);
    agent.answer.set(Optional.empty());
    agent.state = Guest.State.PAUSED;
    // One question may be on its way.
    agent.awaitMore(agent.looks);
    int asked = agent.asked.get();
    boolean live = live();
    agent.awaitMore(agent.looks);
    assertThat(agent.asked.get()).isEqualTo(asked);
    assertThat(live()).isEqualTo(live);
  }

  @Test
  void manyThatHangDelayNobodyElseForGood() throws Exception {
    List<Agent> hanging = new CopyOnWriteArrayList<>();
    try {
      for (int i = 0; i < 3; i++) {
        Agent each = new Agent();
        each.hang = true;
        hanging.add(each);
        watch.follow(each.asGuest());
      }
      await().atMost(LONG).until(() -> hanging.stream().allMatch(a -> a.asked.get() == 1));
      agent.answer.set(Optional.of(report("vm7")));
      watch.follow(agent.asGuest());
      await().atMost(LONG).until(this::live);
      assertThat(hanging).as("one question at a time").allMatch(a -> a.asked.get() == 1);
    } finally {
      hanging.forEach(a -> a.hangs.countDown());
    }
  }

  @Test
  void anAnswerThatComesWhenTheVmIsHaltedIsDropped() throws Exception {
    agent.answer.set(Optional.of(report("vm7")));
    watch.follow(agent.asGuest());
    await().atMost(LONG).until(this::live);
    database.change(tx -> {
      tx.set(vm, VM.POWER_STATE, VmPowerState.HALTED);
      AgentRecords.gone(tx, vm, VmPowerState.HALTED);
    });
    assertThat(metrics().isNull()).isTrue();
    assertThat(database.snapshot().rows("VM_guest_metrics")).isEmpty();
    records.answered(agent.guest, report("late"));
    assertThat(metrics().isNull()).isTrue();
    assertThat(database.snapshot().rows("VM_guest_metrics")).isEmpty();
  }

  @Test
  void aSuspendedVmKeepsWhatIsKnown() throws Exception {
    records.answered(agent.guest, report("vm7"));
    assertThat(live()).isTrue();
    database.change(tx -> {
      tx.set(vm, VM.POWER_STATE, VmPowerState.SUSPENDED);
      AgentRecords.gone(tx, vm, VmPowerState.SUSPENDED);
    });
    assertThat(live()).isFalse();
    assertThat(database.snapshot().get(metrics(), VMGuestMetrics.OS_VERSION))
        .containsEntry("name", "Debian");
  }

  @Test
  void aGuestThatIsGoneIsNotAskedAnyMore() throws Exception {
    agent.answer.set(Optional.of(report("vm7")));
    watch.follow(agent.asGuest());
    await().atMost(LONG).until(this::live);
    agent.listeners.forEach(listener -> listener.accept(Guest.State.GONE));
    Agent other = new Agent();
    watch.follow(other.asGuest());
    // One question may be on its way.
    other.awaitMore(other.questions);
    int questions = agent.questions.get();
    other.awaitMore(other.questions);
    assertThat(agent.questions.get()).isEqualTo(questions);
  }
}
