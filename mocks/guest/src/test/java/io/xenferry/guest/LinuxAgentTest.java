package io.xenferry.guest;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.xenferry.guest.linux.LinuxGuest;
import io.xenferry.spi.AgentReport;
import io.xenferry.spi.Guest;
import io.xenferry.spi.GuestAgent;
import io.xenferry.spi.GuestSpec;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** The QEMU guest agent in Linux in QEMU. */
@Tag("slow")
class LinuxAgentTest {
  private static final Duration BOOT = Duration.ofSeconds(120);
  private static final Duration DEADLINE = Duration.ofSeconds(60);

  private static GuestSpec spec(String layout) throws Exception {
    LinuxGuest linux = LinuxGuest.prepare().withAgent();
    Map<String, String> platform = Map.of("xenferry:accel", "tcg", "xenferry:layout", layout);
    return new GuestSpec(
        UUID.randomUUID(),
        "agent",
        GuestSpec.Machine.of(platform),
        new GuestSpec.Memory(128 << 20, 128 << 20),
        new GuestSpec.Vcpus(1, 1, 1),
        new GuestSpec.Boot.Kernel(
            linux.kernel(), Optional.of(linux.ramdisk()), LinuxGuest.ARGUMENTS),
        List.of(),
        List.of(),
        List.of(new GuestSpec.Nic("0", "02:00:00:00:00:01", "x", new GuestSpec.Backend.Isolated())),
        platform);
  }

  @Test
  void itTellsOfItsSystemAndAddressesAndShutsDown() throws Exception {
    Optional<String> missing = LinuxGuest.agentMissing();
    if ("true".equals(System.getenv("XENFERRY_REQUIRE_TOOLS"))) {
      assertThat(missing).as("what the Linux guest needs").isEmpty();
    }
    assumeTrue(missing.isEmpty(), () -> "the Linux guest needs " + missing.orElseThrow());
    try (Guests guests = new Guests(QemuHypervisorTest.installed())) {
      Guest old = guests.host("s").start(spec("1"), true);
      assertThat(old.agent()).as("of a machine from before").isEmpty();
      old.destroy();

      Guest guest = guests.host("s").start(spec("2"), false);
      GuestAgent agent = guest.agent().orElseThrow();
      assertThat(agent.present()).as("while it boots").isFalse();
      CountDownLatch opened = new CountDownLatch(1);
      agent.onChange(opened::countDown);
      assertThat(opened.await(BOOT.toSeconds(), TimeUnit.SECONDS)).isTrue();
      await().atMost(DEADLINE).until(agent::present);

      AgentReport report = agent.ask(DEADLINE);
      assertThat(report.version()).startsWith("7.2");
      assertThat(report.system())
          .containsEntry("name", "XenFerry test guest 4.2 (ferryman)")
          .containsEntry("distro", "ferryman")
          .containsEntry("major", "4")
          .containsEntry("minor", "2")
          .hasEntrySatisfying("uname", uname -> assertThat(uname).contains("amd64"));
      assertThat(report.interfaces())
          .anySatisfy(card -> {
            assertThat(card.mac()).isEqualTo("02:00:00:00:00:01");
            assertThat(card.ipv4()).containsExactly("192.0.2.10");
          });

      agent.shutdown(DEADLINE);
      Guests.awaitState(guest, Guest.State.SHUTDOWN);
    }
  }
}
