package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import java.time.Duration;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** What the agent of a Linux guest says is shown by xe, where the guest is. */
@Timeout(600)
@Tag("slow")
class LinuxAgentMoveTest {
  private static final Duration PATIENCE = Duration.ofSeconds(120);

  private static String shown(Moves moves, Site site, String field) throws Exception {
    return Xe.local(site).run("vm-param-get", "uuid=" + moves.vm(), "param-name=" + field);
  }

  private static void awaitAgent(Moves moves, Site site) {
    await()
        .atMost(PATIENCE)
        .pollInterval(Duration.ofMillis(500))
        .untilAsserted(() -> {
          assertThat(shown(moves, site, "live")).isEqualTo("true");
          assertThat(shown(moves, site, "networks"))
              .contains("0/ip: 192.0.2.10", "0/ipv4/0: 192.0.2.10");
          assertThat(shown(moves, site, "os-version"))
              .contains("name: XenFerry test guest 4.2 (ferryman)", "distro: ferryman", "uname: ");
          assertThat(shown(moves, site, "PV-drivers-version")).contains("major: 7", "minor: 2");
        });
  }

  @Test
  void itIsKnownWhereTheGuestIsAndForgottenWhenItHalts() throws Exception {
    try (Moves moves = Moves.linuxWithAgent("io.xenferry.server.ServerMain")) {
      moves.install(32L << 20);
      assertThat(shown(moves, moves.lab().alpha(), "networks")).isEqualTo("<not in database>");
      moves.start();
      awaitAgent(moves, moves.lab().alpha());
      for (Site from : new Site[] {moves.lab().alpha(), moves.lab().beta()}) {
        Xe.Outcome outcome = moves.move(from).await();
        assertThat(outcome.exit()).as(outcome + moves.describe()).isZero();
        awaitAgent(moves, moves.assertWell());
      }
      Site site = moves.lab().alpha();
      Xe.local(site).run("vm-shutdown", "uuid=" + moves.vm());
      assertThat(shown(moves, site, "networks")).isEqualTo("<not in database>");
      try (Api api = new Api(site)) {
        assertThat(api.texts("VM_guest_metrics.get_all")).isEmpty();
      }
    }
  }
}
