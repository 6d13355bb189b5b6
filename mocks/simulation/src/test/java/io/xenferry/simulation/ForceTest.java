package io.xenferry.simulation;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.peer.PeerAddress;
import io.xenferry.migration.peer.PeerAnswer;
import io.xenferry.migration.peer.PeerClient;
import io.xenferry.migration.peer.PeerMessage;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;

/** In doubt, with one host away: what the gate says, and what an operator's word does. */
class ForceTest extends Story {
  ForceTest() {
    super(11);
  }

  private void forceResume() {
    server(source).forceResume(id(source), "root");
    run(Duration.ofSeconds(5));
  }

  private void forceCommit() {
    server(destination).forceCommit(id(destination), "root");
    run(Duration.ofSeconds(10));
  }

  private void off(SimHost host) {
    switchOff(host);
    run(Duration.ofSeconds(2));
  }

  private void on(SimHost host) {
    comeBack(host);
    run(Duration.ofMinutes(1));
  }

  @Test
  void inDoubtTheGateSaysWhatIsAskedAndForceTakesTheVmBack() {
    when(destination, "COMMITTED", () -> switchOff(destination));
    move();
    run(Duration.ofSeconds(20));
    assertThat(state(source)).isEqualTo(State.COMMITTING);
    assertThat(guest(source)).isEqualTo(GuestState.SENT);
    assertThat(refusal(source))
        .contains("COMMITTING")
        .contains("commit: run the VM")
        .contains("last tried")
        .contains("force-resume");

    world.first.memoryLost = false;
    forceResume();
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
    assertThat(source.server().ledger.audits().getFirst().action()).isEqualTo("force-resume");

    on(destination);
    assertThat(state(destination)).isIn(State.RETURNED, State.ABORTED);
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
    assertThat(guest(destination)).isNotEqualTo(GuestState.RUNNING);
    assertThat(source.vdis).as("nothing is deleted at the source").hasSize(2);
  }

  @Test
  void aDestinationThatComesBackReadyAsksTheSourceBeforeItObeysALateCommit() {
    when(source, "COMMITTING", () -> kill(destination));
    move();
    run(Duration.ofSeconds(20));
    assertThat(state(destination)).isEqualTo(State.READY);
    forceResume();
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);

    comeBack(destination);
    runUntil(() -> !server(destination).statuses().getFirst().phase().equals("not taken up"));
    LedgerRow sender = source.ledgerDisk.rows().getFirst();
    CompletableFuture<PeerAnswer> answer =
        new PeerClient((to, late, deadline) -> server(destination).endpoint().handle(late))
            .send(
                new PeerAddress(sender.peerUrl(), sender.peerFingerprint()),
                sender.migration(),
                sender.token(),
                sender.key(),
                new PeerMessage.Commit(sender.peerIncarnation()),
                Duration.ofSeconds(10));
    run(Duration.ofMinutes(1));
    assertThat(answer.join().refused()).isFalse();
    assertThat(state(destination)).isEqualTo(State.RETURNED);
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
    assertThat(guest(destination)).isNotEqualTo(GuestState.RUNNING);
  }

  @Test
  void aDestinationInDoubtAsksTheSourceAfterARestartAndYieldsToForce() {
    when(destination, "COMMITTED", () -> kill(destination));
    move();
    run(Duration.ofSeconds(20));
    assertThat(guest(destination)).isEqualTo(GuestState.RECEIVED);
    forceResume();
    on(destination);
    assertThat(state(destination)).isEqualTo(State.RETURNED);
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
    assertThat(destination.vdis).as("nothing is deleted after force").hasSize(2);
    server(source).release(id(source), Role.SOURCE, "root");
    server(destination).release(id(destination), Role.DESTINATION, "root");
    run(Duration.ofSeconds(1));
    assertThat(source.allEnded()).isTrue();
    assertThat(destination.allEnded()).isTrue();
    assertThat(status().phase()).isEqualTo("ended");
  }

  @Test
  void forceCommitRunsAReadyGuestWhenTheSourceIsOff() {
    when(destination, "READY", () -> switchOff(source));
    move();
    run(Duration.ofSeconds(30));
    assertThat(state(destination)).isEqualTo(State.READY);
    assertThat(refusal(destination)).contains("READY");
    forceCommit();
    assertThat(state(destination)).isEqualTo(State.RUNNING);
    assertThat(guest(destination)).isEqualTo(GuestState.RUNNING);

    on(source);
    run(Duration.ofMinutes(1));
    assertThat(guest(source)).isEqualTo(GuestState.GONE);
    assertThat(refusal(source)).as("the source may not start it").contains("OWNED");
    assertThat(source.vdis).as("nothing is deleted after force").hasSize(2);
  }

  @Test
  void aWordForTheDestinationIsNotBelievedAfterOneForTheSource() {
    when(destination, "READY", () -> switchOff(source));
    move();
    run(Duration.ofSeconds(30));
    forceCommit();
    assertThat(guest(destination)).isEqualTo(GuestState.RUNNING);
    assertThat(destination.shows(world.vm)).isTrue();

    off(destination);
    on(source);
    assertThat(refusal(source)).contains("force-resume");
    forceResume();
    assertThat(refusal(source)).as("it may be started there").isEmpty();

    on(destination);
    assertThat(refusal(destination)).contains("RUNNING (forced)").contains("force-commit");
    // Nor is the source believed when it comes back, while the destination says otherwise.
    off(source);
    on(source);
    assertThat(refusal(source)).contains("OWNED (forced)");
    assertThat(refusal(destination)).isNotEmpty();
    // Given anew, it counts; also at a destination that runs already.
    off(source);
    forceCommit();
    assertThat(refusal(destination)).isEmpty();
    on(source);
    assertThat(refusal(source)).isNotEmpty();
  }

  @Test
  void aWordForTheSourceCountsUntilItIsRebooted() {
    when(destination, "COMMITTED", () -> switchOff(destination));
    move();
    run(Duration.ofSeconds(10));
    forceResume();
    assertThat(guest(source)).isEqualTo(GuestState.RUNNING);
    assertThat(refusal(source)).isEmpty();
    off(source);
    on(source);
    assertThat(refusal(source)).contains("OWNED (forced)").contains("force-resume");
    forceResume();
    assertThat(refusal(source)).isEmpty();
    off(source);
    on(source);
    on(destination);
    assertThat(refusal(source)).as("the destination has answered").isEmpty();
  }
}
