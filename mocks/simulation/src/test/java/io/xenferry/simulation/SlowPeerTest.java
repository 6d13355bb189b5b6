package io.xenferry.simulation;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.copy.CopyOptions.Verify;
import io.xenferry.migration.state.CutOver;
import io.xenferry.migration.state.PeerStanding;
import io.xenferry.migration.state.PeerStanding.Kind;
import io.xenferry.migration.state.State;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** A peer that is slow, and one that is lost, in the simulated world. */
class SlowPeerTest extends Story {
  /** What the source has said of the destination, each change once. */
  private final List<Kind> told = new ArrayList<>();

  SlowPeerTest() {
    super(29);
  }

  @BeforeEach
  void hold() {
    // To compare disks the peer is asked again and again, which would take long at a slow one.
    move(CutOver.OPTION, CutOver.HOLD.word(), Verify.OPTION, Verify.NOTHING.word());
    run(Duration.ofSeconds(3));
    assertThat(standing(source)).isEqualTo(Kind.ANSWERS);
    server(source).listen(status -> status.peer().map(PeerStanding::kind).ifPresent(this::tell));
  }

  private void tell(Kind kind) {
    if (told.isEmpty() || told.getLast() != kind) {
      told.add(kind);
    }
  }

  private static Kind standing(SimHost host) {
    return server(host).statuses().getFirst().peer().orElseThrow().kind();
  }

  @Test
  void aSlowPeerIsWaitedForHoweverLongTheMoveLasts() {
    world.slowMessages = Duration.ofMillis(800); // each way; two seconds of silence are lost
    run(SimServer.DEADLINES.resumeWindow().multipliedBy(3));

    assertThat(status().state()).isEqualTo(State.SENDING);
    assertThat(standing(source)).isEqualTo(Kind.SLOW);
    assertThat(status().phaseAndPeer())
        .startsWith("following the guest's writes")
        .contains(" (the destination is slow: ");
    assertThat(told.getLast()).isEqualTo(Kind.SLOW);

    steer(CutOver.AUTO);
    runUntil(() -> status().ended());
    assertThat(destination.shows(world.vm)).isTrue();
  }

  @Test
  void oneThatIsPromptAgainIsNotCalledSlowForEver() {
    world.slowMessages = Duration.ofMillis(800);
    run(Duration.ofSeconds(10));
    assertThat(standing(source)).isEqualTo(Kind.SLOW);
    world.slowMessages = Duration.ZERO;
    run(Duration.ofSeconds(30));

    assertThat(standing(source)).isEqualTo(Kind.ANSWERS);
    assertThat(status().phaseAndPeer()).isEqualTo(status().phase());
  }

  @Test
  void aLostPeerIsToldOnBothSidesAndGivenUpAfterTheResumeWindow() {
    Duration window = SimServer.DEADLINES.resumeWindow();
    world.cutNetwork(Duration.ofMinutes(5));
    run(Duration.ofSeconds(5));

    assertThat(standing(source)).isEqualTo(Kind.LOST);
    assertThat(standing(destination)).isEqualTo(Kind.LOST);
    assertThat(told).containsExactly(Kind.ANSWERS, Kind.SLOW, Kind.LOST);
    assertThat(status().state()).isEqualTo(State.SENDING);
    run(window);
    assertThat(status().state()).isEqualTo(State.OWNED);
    assertThat(status().outcome().orElseThrow()).startsWith("the destination did not answer for");
  }
}
