package io.xenferry.simulation;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.migration.Coordinator;
import io.xenferry.migration.state.CutOver;
import io.xenferry.migration.state.MigrationStatus;
import io.xenferry.migration.state.PeerStanding;
import io.xenferry.migration.state.PeerStanding.Kind;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import io.xenferry.migration.state.Steering;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** A peer that is slow, and one that is lost, in the simulated world. */
class SlowPeerTest {
  private final World world = new World(29, Faults.NONE, Variant.SOUND, new ArrayList<>());
  private final SimHost source = world.hosts.get(0);
  private final SimHost destination = world.hosts.get(1);

  /** What the source has said of the destination, each change once. */
  private final List<Kind> told = new ArrayList<>();

  @BeforeEach
  void begin() {
    Simulation.populate(world, true);
    world.hosts.forEach(SimHost::startServer);
    world.tick();
    Clients clients = new Clients(world, 1);
    clients.with(Map.of(CutOver.OPTION, CutOver.HOLD.word()));
    clients.move(source);
    run(Duration.ofSeconds(3));
    assertThat(standing(Role.SOURCE)).isEqualTo(Kind.ANSWERS);
    server().listen(status -> status.peer().map(PeerStanding::kind).ifPresent(this::tell));
  }

  private void tell(Kind kind) {
    if (told.isEmpty() || told.getLast() != kind) {
      told.add(kind);
    }
  }

  private void run(Duration duration) {
    Simulation.drive(world, duration, () -> false);
  }

  private Coordinator server() {
    return Objects.requireNonNull(source.coordinator);
  }

  private MigrationStatus status() {
    return server().statuses().getFirst();
  }

  private void steer(CutOver when) {
    var unused = server().steer(status().migration(), Role.SOURCE, Steering.Change.of(when));
  }

  private Kind standing(Role role) {
    Coordinator of =
        Objects.requireNonNull(role == Role.SOURCE ? source.coordinator : destination.coordinator);
    return of.statuses().getFirst().peer().orElseThrow().kind();
  }

  @Test
  void aSlowPeerIsWaitedForHoweverLongTheMoveLasts() {
    world.slowMessages = Duration.ofMillis(800); // each way; two seconds of silence are lost
    run(SimHost.DEADLINES.resumeWindow().multipliedBy(3));

    assertThat(status().state()).isEqualTo(State.SENDING);
    assertThat(standing(Role.SOURCE)).isEqualTo(Kind.SLOW);
    assertThat(status().phaseAndPeer())
        .startsWith("following the guest's writes")
        .contains(" (the destination is slow: ");
    assertThat(told.getLast()).isEqualTo(Kind.SLOW);

    steer(CutOver.AUTO);
    run(Duration.ofMinutes(2));
    assertThat(status().ended()).isTrue();
    assertThat(destination.shows(world.vm)).isTrue();
  }

  @Test
  void oneThatIsPromptAgainIsNotCalledSlowForEver() {
    world.slowMessages = Duration.ofMillis(800);
    run(Duration.ofSeconds(10));
    assertThat(standing(Role.SOURCE)).isEqualTo(Kind.SLOW);
    world.slowMessages = Duration.ZERO;
    run(Duration.ofSeconds(30));

    assertThat(standing(Role.SOURCE)).isEqualTo(Kind.ANSWERS);
    assertThat(status().phaseAndPeer()).isEqualTo(status().phase());
  }

  @Test
  void aLostPeerIsToldOnBothSidesAndGivenUpAfterTheResumeWindow() {
    Duration window = SimHost.DEADLINES.resumeWindow();
    world.cutNetwork(Duration.ofMinutes(5));
    run(Duration.ofSeconds(5));

    assertThat(standing(Role.SOURCE)).isEqualTo(Kind.LOST);
    assertThat(standing(Role.DESTINATION)).isEqualTo(Kind.LOST);
    assertThat(told).containsExactly(Kind.ANSWERS, Kind.SLOW, Kind.LOST);
    assertThat(status().state()).isEqualTo(State.SENDING);
    run(window);
    assertThat(status().state()).isEqualTo(State.OWNED);
    assertThat(status().outcome().orElseThrow()).startsWith("the destination did not answer for");
  }
}
