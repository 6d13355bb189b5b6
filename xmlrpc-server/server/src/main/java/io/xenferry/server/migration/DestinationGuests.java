package io.xenferry.server.migration;

import io.xenferry.migration.ports.DestinationPorts;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.ports.RefusedException;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Plan;
import io.xenferry.spi.Guest;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.Hypervisor;
import java.time.Duration;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;

/** The guests that arrive at this host. */
final class DestinationGuests implements DestinationPorts.Guests {
  private static final Duration RUNS = Duration.ofSeconds(30);

  private final Hypervisor hypervisor;
  private final GuestCalls guests;
  private final Specs specs;

  /** The hidden VM's disks and what the hypervisor needs of it; blocking. */
  interface Specs {
    GuestSpec of(UUID vm) throws Exception;

    /** Makes the machine of a VM that boots here, standing still before its first instruction. */
    void makeMachine(UUID vm) throws Exception;

    /** Lets the guest use its disks; refused while one of them is exported. */
    void activateDisks(UUID vm) throws Exception;
  }

  DestinationGuests(Hypervisor hypervisor, Specs specs) {
    this.hypervisor = hypervisor;
    this.guests = new GuestCalls(hypervisor);
    this.specs = specs;
  }

  @Override
  public CompletableFuture<Void> startIncoming(MigrationId migration, Plan plan, List<UUID> vdis) {
    return Effects.run(
        "start incoming " + plan.vm(),
        () -> {
          Optional<Guest> there = guests.find(plan.vmAtDestination());
          if (there.isPresent()) {
            if (there.get().state() == Guest.State.INCOMING) {
              return;
            }
            throw new RefusedException(
                "a guest of VM " + plan.vmAtDestination() + " is already " + there.get().state());
          }
          hypervisor.startIncoming(specs.of(plan.vmAtDestination()));
        });
  }

  @Override
  public CompletableFuture<Void> makeMachine(MigrationId migration, Plan plan, List<UUID> vdis) {
    UUID vm = plan.vmAtDestination();
    return Effects.run(
        "make the machine of " + vm,
        () -> {
          GuestState there = guests.observe(vm);
          switch (there) {
            case PAUSED -> {}
            case GONE -> specs.makeMachine(vm);
            case RUNNING, INCOMING, RECEIVED, PRE_SWITCHOVER, SENT, SHUTDOWN ->
                throw new RefusedException("a guest of VM " + vm + " is already " + there);
          }
        });
  }

  @Override
  public CompletableFuture<Void> unmakeMachine(UUID vm) {
    return Effects.run(
        "end the machine of " + vm,
        () -> {
          if (guests.observe(vm) == GuestState.RUNNING) {
            throw new RefusedException("the guest of VM " + vm + " runs");
          }
          guests.destroy(vm);
        });
  }

  @Override
  public CompletableFuture<GuestState> observe(UUID vm) {
    return Effects.call("observe " + vm, () -> guests.observe(vm));
  }

  @Override
  public CompletableFuture<Void> activate(UUID vm) {
    return Effects.run(
        "activate " + vm,
        () -> {
          guests.await(vm, GuestState.RECEIVED, RUNS);
          specs.activateDisks(vm);
          guests.get(vm).activate();
        });
  }

  @Override
  public CompletableFuture<Void> resume(UUID vm) {
    return Effects.run(
        "resume " + vm,
        () -> {
          // Of one that runs it changes nothing, and it has seen it run when it returns.
          guests.get(vm).resume();
          guests.await(vm, EnumSet.of(GuestState.RUNNING), RUNS);
        });
  }

  @Override
  public CompletableFuture<Void> destroy(UUID vm) {
    return Effects.run("destroy " + vm, () -> guests.destroy(vm));
  }

  @Override
  public CompletableFuture<Void> giveUp(UUID vm) {
    return Effects.run(
        "give up " + vm,
        () -> {
          GuestState seen = guests.observe(vm);
          if (seen == GuestState.RUNNING || seen == GuestState.PAUSED) {
            throw new RefusedException(
                "the guest of VM " + vm + " is " + seen + ": it does not wait for its memory");
          }
          guests.destroy(vm);
        });
  }

  @Override
  public CompletableFuture<Void> announce(UUID vm) {
    return Effects.run("announce " + vm, () -> guests.get(vm).announce());
  }
}
