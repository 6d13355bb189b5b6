package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.packaging.Fault.Moment;
import io.xenferry.packaging.Fault.Signal;
import java.time.Duration;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * What dies while Linux in QEMU is moved: its processes at either side, and the guest itself, which
 * reboots, halts or panics. It is at exactly one side afterwards, with every record that it had
 * acknowledged.
 */
@Timeout(300)
class LinuxFaultTest {
  private static final Duration PATIENCE = Duration.ofSeconds(90);

  /**
   * Bytes a second: the copy takes long enough to interfere with. Passes get nowhere, since every
   * record makes 64 KiB dirty, and what has to arrive takes a mirror.
   */
  private static final String SLOWLY = "bandwidth=2097152";

  private Moves moves;

  @BeforeEach
  void prepare() throws Exception {
    moves = Moves.linux(FaultyServer.class.getName(), "--target", "auto");
    moves.writing(256 << 10, 2 << 20).install(32L << 20, 32L << 20);
    moves.start();
  }

  @AfterEach
  void end() throws Exception {
    if (moves != null) {
      moves.close();
    }
  }

  private Site alpha() {
    return moves.lab().alpha();
  }

  private Site beta() {
    return moves.lab().beta();
  }

  /** The VM never stopped running where it was. */
  private void assertStayed(Xe.Outcome outcome) throws Exception {
    assertThat(outcome.exit()).as(outcome.toString()).isEqualTo(1);
    assertThat(moves.assertWell()).isSameAs(alpha());
    assertThat(moves.observer().boots()).as("boots of the guest").isOne();
  }

  /** The VM has ended; it is at one site, whole, and can be started there. */
  private void assertHalted(Site at) throws Exception {
    moves.awaitRest();
    await().atMost(PATIENCE).until(() -> moves.powerState(at).equals(Optional.of("Halted")));
    moves.assertNothingLeft(moves.other(at));
    for (Site site : moves.sites()) {
      Exports.assertNone(site);
    }
    moves.assertNothingLost(at);
    Xe.local(at).run("vm-start", "uuid=" + moves.vm());
    assertThat(moves.assertWell()).isSameAs(at);
  }

  @Test
  @Tag("slow")
  void aReceivingQemuThatIsKilledIsStartedAnewOrLeavesTheGuestWhereItRuns() throws Exception {
    Xe.Running xe = moves.move(alpha());
    await()
        .atMost(PATIENCE)
        .pollInterval(Duration.ofMillis(5))
        .until(() -> !GuestProcesses.of(beta().stateDirectory()).isEmpty());
    GuestProcesses.kill(beta().stateDirectory());
    Xe.Outcome outcome = xe.await();
    Site owner = moves.assertWell();
    assertThat(owner).as(outcome.toString()).isSameAs(outcome.exit() == 0 ? beta() : alpha());
    assertThat(moves.observer().boots()).as("boots of the guest").isOne();
  }

  @ParameterizedTest
  @CsvSource({"READY, AFTER", "COMMITTED, BEFORE", "COMMITTED, AFTER"})
  @Tag("slow")
  void aReadyQemuThatIsKilledGivesTheGuestBack(String record, Moment moment) throws Exception {
    new Fault(moment, record, Signal.KILL_GUEST).arm(beta().stateDirectory());
    assertStayed(moves.move(alpha()).await());
  }

  @Test
  @Tag("slow")
  void aSendingQemuThatIsKilledLeavesTheVmAtTheSource() throws Exception {
    afterCrash("destroy");
    Xe.Running xe = moves.move(alpha(), SLOWLY);
    MoveFigures.awaitSent(alpha());
    GuestProcesses.kill(alpha().stateDirectory());
    assertThat(xe.await().exit()).isEqualTo(1);
    assertHalted(alpha());
  }

  private void afterCrash(String action) throws Exception {
    try (Api api = new Api(alpha())) {
      api.text("VM.set_actions_after_crash", api.text("VM.get_by_uuid", moves.vm()), action);
    }
  }

  /** As the VM's record asks for when its guest crashes. */
  @Test
  @Tag("slow")
  void aSendingQemuThatIsKilledIsStartedAgainWhereThatIsWanted() throws Exception {
    afterCrash("restart");
    Xe.Running xe = moves.move(alpha(), SLOWLY);
    MoveFigures.awaitSent(alpha());
    GuestProcesses.kill(alpha().stateDirectory());
    assertThat(xe.await().exit()).isEqualTo(1);
    await().atMost(PATIENCE).until(() -> moves.observer().boots() == 2);
    assertThat(moves.assertWell()).isSameAs(alpha());
  }

  @ParameterizedTest
  @ValueSource(strings = {"log-dirty", "mirror"})
  @Tag("slow")
  void aDestinationThatIsKilledInMidCopyGoesOn(String strategy) throws Exception {
    Xe.Running xe = moves.move(alpha(), SLOWLY, "strategy=" + strategy);
    MoveFigures.awaitSent(alpha());
    beta().kill();
    moves.assertWrites();
    beta().start();
    Xe.Outcome outcome = xe.await();
    assertThat(outcome.exit()).as(outcome + moves.describe()).isZero();
    assertThat(moves.assertWell()).isSameAs(beta());
    assertThat(moves.observer().boots()).as("boots of the guest").isOne();
  }

  @ParameterizedTest
  @ValueSource(strings = {"log-dirty", "mirror"})
  @Tag("slow")
  void aSourceThatIsKilledInMidCopyGoesOn(String strategy) throws Exception {
    Xe.Running xe = moves.move(alpha(), SLOWLY, "strategy=" + strategy);
    MoveFigures.awaitSent(alpha());
    alpha().kill();
    moves.assertWrites();
    alpha().start();
    assertThat(xe.await().exit()).isNotZero();
    assertThat(moves.assertWell()).as("where the move has gone on to").isSameAs(beta());
    assertThat(moves.observer().boots()).isOne();
  }

  @ParameterizedTest
  @ValueSource(strings = {"auto", "mirror"})
  @Tag("slow")
  void aTargetDaemonThatIsKilledInMidCopyCostsNoWrite(String strategy) throws Exception {
    Xe.Running xe = moves.move(alpha(), SLOWLY, "strategy=" + strategy);
    MoveFigures.awaitSent(alpha());
    TargetDaemon.kill(beta());
    Xe.Outcome outcome = xe.await();
    Site owner = moves.assertWell();
    assertThat(owner).as(outcome.toString()).isSameAs(outcome.exit() == 0 ? beta() : alpha());
    assertThat(moves.observer().boots()).as("boots" + moves.describe()).isOne();
  }

  /**
   * A panic reboots too, as the guest's command line says. The writer is ended before a reboot, as
   * an init would: a write that is under way then fails, and that is not the move's fault.
   */
  @ParameterizedTest
  @CsvSource({
    "kill $(pidof writer); reboot -f, auto",
    "kill $(pidof writer); reboot -f, mirror",
    "echo c > /proc/sysrq-trigger, auto"
  })
  @Tag("slow")
  void aGuestThatRebootsInMidCopyIsMovedAllTheSame(String command, String strategy)
      throws Exception {
    Xe.Running xe = moves.move(alpha(), SLOWLY, "strategy=" + strategy);
    MoveFigures.awaitSent(alpha());
    GuestProcesses.type(alpha(), moves.vm(), command);
    await().atMost(PATIENCE).until(() -> moves.observer().boots() == 2);
    Xe.Outcome outcome = xe.await();
    assertThat(outcome.exit()).as(outcome + moves.describe()).isZero();
    assertThat(moves.assertWell()).isSameAs(beta());
    assertThat(moves.observer().boots()).isEqualTo(2);
  }

  @Test
  @Tag("slow")
  void aGuestThatHaltsInMidCopyIsHaltedWhereItWas() throws Exception {
    Xe.Running xe = moves.move(alpha(), SLOWLY);
    MoveFigures.awaitSent(alpha());
    GuestProcesses.type(alpha(), moves.vm(), "kill $(pidof writer); poweroff -f");
    assertThat(xe.await().exit()).isEqualTo(1);
    assertHalted(alpha());
  }
}
