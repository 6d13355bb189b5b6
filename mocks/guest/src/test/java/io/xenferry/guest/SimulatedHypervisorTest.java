package io.xenferry.guest;

import static io.xenferry.guest.Guests.awaitState;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.qemu.GuestLauncher;
import io.xenferry.qemu.SimulatedLauncher;
import io.xenferry.spi.Guest;
import io.xenferry.spi.Guest.State;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.HypervisorException;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.junit.jupiter.api.Test;

class SimulatedHypervisorTest extends HypervisorContract {

  @Override
  GuestLauncher launcher() {
    return SimulatedLauncher.ofThisJvm();
  }

  @Test
  void refusesToActivateWhenToldTo() throws Exception {
    Guest source = guests.host("s").start(spec("a"), false);
    Guest destination = guests.host("d").startIncoming(faulty("refuse-activate"));
    toPreSwitchover(source, destination.incomingSocket());
    source.finishMemory();
    awaitState(destination, State.RECEIVED);
    assertThatThrownBy(destination::activate)
        .isInstanceOfSatisfying(
            HypervisorException.class,
            e -> assertThat(e.kind()).isEqualTo(HypervisorException.Kind.REFUSED));
  }

  @Test
  void diesWhereToldTo() throws Exception {
    Guest source = guests.host("s").start(spec("a"), false);
    Guest destination = guests.host("d").startIncoming(faulty("die=received"));
    toPreSwitchover(source, destination.incomingSocket());
    source.finishMemory();
    awaitState(destination, State.GONE);
    awaitState(source, State.SENT);
  }

  @Test
  void runsOnWhenItIsCancelledAfterAllWasSent() throws Exception {
    Guest source =
        guests
            .host("s")
            .start(
                guests.spec(vm, Map.of("xenferry:fault", "stall-end"), guests.disk("a", SIZE)),
                false);
    Guest destination = guests.host("d").startIncoming(spec("b"));
    toPreSwitchover(source, destination.incomingSocket());
    source.finishMemory();
    awaitState(destination, State.RECEIVED);
    source.cancelSend();
    assertThat(source.state()).isEqualTo(State.RUNNING);
  }

  private GuestSpec faulty(String fault) throws Exception {
    return guests.spec(vm, Map.of("xenferry:fault", fault), guests.disk("b", SIZE));
  }

  @Test
  void aGuestKeepsADiskThatItDoesNotLetGo() throws Exception {
    for (String fault : List.of("refuse-unplug", "ignore-unplug")) {
      GuestSpec spec =
          guests.spec(UUID.randomUUID(), Map.of("xenferry:fault", fault), guests.disk(fault, SIZE));
      Guest guest = guests.host("s", Duration.ofSeconds(2)).start(spec, false);
      assertThatThrownBy(() -> guest.hardware().detachDisk("xvda"))
          .isInstanceOfSatisfying(
              HypervisorException.class,
              e ->
                  assertThat(e.kind())
                      .isEqualTo(
                          fault.startsWith("refuse")
                              ? HypervisorException.Kind.REFUSED
                              : HypervisorException.Kind.TIMEOUT));
      assertThat(guest.devices()).containsExactly("xvda");
    }
  }
}
