package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.packaging.Fault.Moment;
import io.xenferry.packaging.Fault.Signal;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * A VM whose source has sent the commit and hears nothing: nobody knows where it runs, and nobody
 * may run it, end it, or take its disks, until the destination is back.
 */
@Timeout(300)
class DoubtTest {
  private Moves moves;

  @BeforeEach
  void prepare() throws Exception {
    moves = new Moves(FaultyServer.class.getName(), "--target", "auto");
    moves.install(16L << 20);
  }

  @AfterEach
  void end() throws Exception {
    moves.close();
  }

  private Site alpha() {
    return moves.lab().alpha();
  }

  private Site beta() {
    return moves.lab().beta();
  }

  /** The destination dies as it is about to note the commit. */
  private Xe.Running leaveInDoubt() throws Exception {
    new Fault(Moment.BEFORE, "COMMITTED", Signal.KILL).arm(beta().stateDirectory());
    Xe.Running xe = moves.move(alpha());
    assertThat(beta().awaitEnd(Duration.ofSeconds(90))).isTrue();
    MoveFigures.awaitPhase(alpha(), "COMMITTING");
    return xe;
  }

  private record Attempt(String method, List<Value> parameters) {
    Attempt(String method, Value... parameters) {
      this(method, List.of(parameters));
    }
  }

  /** Whatever could run it, end it, or take something from it. */
  private List<Attempt> attempts(Api api) throws XenApiException {
    String vm = api.text("VM.get_by_uuid", moves.vm());
    String vbd = api.texts("VM.get_VBDs", vm).getFirst();
    String vdi = api.text("VBD.get_VDI", vbd);
    String vif = api.texts("VM.get_VIFs", vm).getFirst();
    List<Attempt> all = new ArrayList<>();
    for (String method :
        List.of(
            "VM.clean_shutdown",
            "VM.hard_shutdown",
            "VM.clean_reboot",
            "VM.hard_reboot",
            "VM.pause",
            "VM.unpause",
            "VM.destroy")) {
      all.add(new Attempt(method, Value.of(vm)));
    }
    all.add(new Attempt("VM.start", Value.of(vm), Value.of(false), Value.of(true)));
    all.add(new Attempt("VBD.destroy", Value.of(vbd)));
    all.add(new Attempt("VBD.set_userdevice", Value.of(vbd), Value.of("3")));
    all.add(new Attempt("VDI.destroy", Value.of(vdi)));
    all.add(new Attempt("VDI.forget", Value.of(vdi)));
    all.add(new Attempt("VDI.resize", Value.of(vdi), Value.of(32L << 20)));
    all.add(new Attempt("VIF.destroy", Value.of(vif)));
    return all;
  }

  private void assertNothingIsAllowed() throws Exception {
    try (Api api = new Api(alpha())) {
      Map<String, String> codes = new TreeMap<>();
      for (Attempt attempt : attempts(api)) {
        try {
          api.call(attempt.method(), attempt.parameters().toArray(Value[]::new));
          codes.put(attempt.method(), "was done");
        } catch (XenApiException e) {
          codes.put(attempt.method(), e.code());
        }
      }
      assertThat(codes.values())
          .as(codes.toString())
          .isSubsetOf(
              "OPERATION_NOT_ALLOWED",
              "OTHER_OPERATION_IN_PROGRESS",
              "VM_BAD_POWER_STATE",
              "VDI_IN_USE");
    }
    Xe.Outcome uninstall =
        Xe.local(alpha()).attempt("vm-uninstall", "uuid=" + moves.vm(), "force=true");
    assertThat(uninstall.exit()).as(uninstall.toString()).isEqualTo(1);
    Xe.Outcome start = Xe.local(alpha()).attempt("vm-start", "uuid=" + moves.vm());
    assertThat(start.exit()).as(start.toString()).isEqualTo(1);
  }

  @Test
  @Tag("slow")
  void aRunningVmInDoubtIsLeftAlone() throws Exception {
    moves.start();
    Xe.Running xe = leaveInDoubt();
    assertNothingIsAllowed();
    beta().start();
    assertThat(xe.await().exit()).isZero();
    assertThat(moves.assertWell()).isSameAs(beta());
  }

  @Test
  @Tag("slow")
  void aRunningVmInDoubtIsLeftAloneByARestartedServer() throws Exception {
    moves.start();
    Xe.Running xe = leaveInDoubt();
    alpha().kill();
    alpha().start();
    assertNothingIsAllowed();
    beta().start();
    assertThat(xe.await().exit()).isNotZero();
    assertThat(moves.assertWell()).isSameAs(beta());
  }

  /** Its power state forbids next to nothing: only the gate does. */
  @Test
  @Tag("slow")
  void aHaltedVmInDoubtIsLeftAloneByARestartedServer() throws Exception {
    moves.start();
    Xe.local(alpha()).run("vm-shutdown", "uuid=" + moves.vm(), "--force");
    Xe.Running xe = leaveInDoubt();
    alpha().kill();
    alpha().start();
    assertNothingIsAllowed();
    beta().start();
    assertThat(xe.await().exit()).isNotZero();
    moves.awaitRest();
    assertThat(moves.powerState(alpha())).isEmpty();
    assertThat(moves.powerState(beta())).contains("Halted");
    moves.assertNothingLeft(alpha());
    moves.assertNothingLost(beta());
    Xe.local(beta()).run("vm-start", "uuid=" + moves.vm());
    assertThat(moves.assertWell()).isSameAs(beta());
  }
}
