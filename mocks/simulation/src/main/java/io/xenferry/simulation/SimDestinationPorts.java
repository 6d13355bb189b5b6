package io.xenferry.simulation;

import io.xenferry.block.Range;
import io.xenferry.copy.BlockHashes;
import io.xenferry.copy.Digest;
import io.xenferry.copy.LocalDigests;
import io.xenferry.migration.ledger.JournalEntry;
import io.xenferry.migration.ports.DestinationPorts;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.ports.RefusedException;
import io.xenferry.migration.preflight.Obstacle;
import io.xenferry.migration.preflight.ObstacleKind;
import io.xenferry.migration.preflight.Survey;
import io.xenferry.migration.state.DiskTarget;
import io.xenferry.migration.state.MigrationException;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Places;
import io.xenferry.migration.state.Plan;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import io.xenferry.time.SimulatedScheduler;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;

/** The destination's effects. */
final class SimDestinationPorts extends SimPorts implements DestinationPorts {
  private static final MigrationId NOBODY = new MigrationId(new UUID(0, 0));

  private final SimExports exports;

  SimDestinationPorts(
      World world, SimHost host, SimulatedScheduler.Process process, SimExports exports) {
    super(world, host, process);
    this.exports = exports;
  }

  @Override
  public Storage storage() {
    return new SimStorage();
  }

  @Override
  public Metadata metadata() {
    return new SimMetadata();
  }

  @Override
  public Guests guests() {
    return new SimGuests();
  }

  @Override
  public Places places(Set<String> srs) {
    return new Places(host.places, Map.of());
  }

  private final class SimStorage implements Storage {
    @Override
    public CompletableFuture<List<Obstacle>> check(Plan plan) {
      return effect(
          "space is checked",
          () -> {
            Survey survey = new Survey(Role.DESTINATION);
            if (host.isFull()) { // asked beforehand, too: no migration need meet it
              survey.raise(
                  new MigrationException("SR_FULL", List.of("1", "0"), "the SR is full"),
                  ObstacleKind.TARGET_SR_FULL);
            }
            return survey.found();
          });
    }

    @Override
    public CompletableFuture<Void> checkRoom(List<UUID> vdis) {
      return act(
          "room is checked",
          () -> {
            if (fullMet()) {
              throw new MigrationException("SR_FULL", List.of("3", "2"), "the SR is full");
            }
          });
    }

    @Override
    public CompletableFuture<Boolean> createVdi(MigrationId migration, Plan.Disk disk, UUID vdi) {
      journaled(JournalEntry.Kind.VDI, vdi.toString());
      return effect(
          "disk " + disk.device() + " is created",
          () -> {
            if (fullMet()) {
              throw new MigrationException("SR_FULL", List.of("1", "0"), "the SR is full");
            }
            SimDisk made = new SimDisk((int) (disk.size() / SimDisk.BLOCK));
            SimHost.Vdi there = world.other(host).vdis.get(disk.vdi());
            boolean copy = there != null && world.random.nextInt(4) == 0;
            if (copy) {
              made.resemble(Objects.requireNonNull(there).disk, world.random);
              host.copies.add(vdi);
              world.count("disks begun as copies");
            }
            host.vdis.put(vdi, new SimHost.Vdi(made, migration));
            return copy;
          });
    }

    @Override
    public CompletableFuture<Boolean> isCopy(UUID vdi) {
      return effect(
          "a disk is looked at",
          () -> {
            require(host.vdis.containsKey(vdi), "no such disk");
            return host.copies.contains(vdi);
          });
    }

    @Override
    public CompletableFuture<DiskTarget> export(
        MigrationId migration, Plan.Disk disk, ExportSpec export) {
      journaled(JournalEntry.Kind.EXPORT, export.name());
      journaled(JournalEntry.Kind.ACCOUNT, export.account());
      return effect("disk " + disk.device() + " is exported", () -> open(disk, export));
    }

    private DiskTarget open(Plan.Disk disk, ExportSpec export) {
      require(host.vdis.containsKey(export.vdi()), "no such disk");
      String iqn = exports.open(export);
      return new DiskTarget(
          disk.vdi(), export.vdi(), "sim://" + host.name + "/" + iqn, disk.size());
    }

    /** Whoever is logged in to the one before cannot write any more. */
    @Override
    public CompletableFuture<DiskTarget> exportAnew(
        MigrationId migration, Plan.Disk disk, ExportSpec export) {
      journaled(JournalEntry.Kind.EXPORT, export.name());
      return effect(
          "disk " + disk.device() + " is exported anew",
          () -> {
            exports.close(export);
            return open(disk, export);
          });
    }

    @Override
    public CompletableFuture<BlockHashes> digests(
        UUID vdi, Range range, int blockSize, Digest digest) {
      return effect(
              "a disk is hashed",
              () -> {
                SimHost.Vdi found = host.vdis.get(vdi);
                require(found != null, "no such disk");
                return Objects.requireNonNull(found);
              })
          .thenCompose(found ->
              new LocalDigests(
                      new SimBackend(
                          "digests",
                          found.disk,
                          world,
                          Objects.requireNonNullElse(found.tag, NOBODY),
                          null,
                          () -> true))
                  .digests(range, blockSize, digest));
    }

    @Override
    public CompletableFuture<Void> closeExport(MigrationId migration, ExportSpec export) {
      world.check(
          !world.inspecting
              || !process.alive()
              || standing(JournalEntry.Kind.EXPORT, export.name())
                  .filter(JournalEntry.Standing.OPEN::equals)
                  .isEmpty(),
          Invariant.DURABLE_FIRST,
          host.name + " closes an export that is OPEN");
      return act("an export is closed", () -> exports.close(export));
    }

    @Override
    public CompletableFuture<Void> removeAccount(MigrationId migration, String account) {
      return act("an account is removed", () -> {}); // with its export, as the product has it
    }

    @Override
    public CompletableFuture<Void> seal(UUID vdi) {
      return act(
          "disk " + vdi + " is flushed",
          () -> {
            SimHost.Vdi found = host.vdis.get(vdi);
            require(found != null, "no such disk");
            Objects.requireNonNull(found).disk.flush();
          });
    }

    @Override
    public CompletableFuture<Void> destroyVdi(MigrationId migration, UUID vdi) {
      decided(migration, State.ABORTED, State.RETURNED);
      return act(
          "a disk is destroyed",
          () -> {
            SimHost.Vdi found = host.vdis.get(vdi);
            if (found != null) {
              world.check(migration.equals(found.tag), Invariant.OWN_OBJECTS, host.name);
              host.vdis.remove(vdi);
              world.checkCompleteCopy(host.name + " destroyed a disk");
            }
          });
    }
  }

  private final class SimMetadata implements Metadata {
    @Override
    public CompletableFuture<List<Obstacle>> check(Plan plan, String metadata) {
      return effect(
          "metadata is checked",
          () -> {
            Survey survey = new Survey(Role.DESTINATION);
            UUID vm = plan.vmAtDestination();
            if (host.vms.containsKey(vm)) {
              survey.raise(
                  new MigrationException(
                      "DUPLICATE_VM", List.of(vm.toString()), "the VM is here already"),
                  ObstacleKind.VM_THERE_ALREADY);
            }
            return survey.found();
          });
    }

    @Override
    public CompletableFuture<List<Obstacle>> admit(
        MigrationId migration, Plan plan, String metadata) {
      return check(plan, metadata);
    }

    @Override
    public CompletableFuture<Void> importHidden(
        MigrationId migration, Plan plan, String metadata, List<UUID> vdis) {
      journaled(JournalEntry.Kind.VM, plan.vmAtDestination().toString());
      return act(
          "the VM is imported, hidden",
          () -> {
            require(!host.vms.containsKey(plan.vmAtDestination()), "the VM is here already");
            host.vms.put(plan.vmAtDestination(), new SimHost.VmRecord(vdis, migration));
          });
    }

    @Override
    public CompletableFuture<Standing> standing(UUID vm) {
      return effect(
          "looked for the record",
          () -> {
            SimHost.VmRecord record = host.vms.get(vm);
            if (record == null) {
              return Standing.ABSENT;
            }
            return record.hidden() ? Standing.HIDDEN : Standing.SHOWN;
          });
    }

    @Override
    public CompletableFuture<Void> reveal(MigrationId migration, Plan plan) {
      decided(plan.vmAtDestination(), State.RUNNING);
      return act(
          "the VM is shown",
          () -> {
            SimHost.VmRecord record = host.vms.get(plan.vmAtDestination());
            require(record != null, "no such VM");
            SimHost.VmRecord known = Objects.requireNonNull(record);
            known.tag = null;
            known.vdis.forEach(vdi -> {
              SimHost.Vdi disk = host.vdis.get(vdi);
              if (disk != null) {
                disk.tag = null;
              }
            });
          });
    }

    @Override
    public CompletableFuture<Void> remove(MigrationId migration, UUID vm) {
      decided(vm, State.ABORTED, State.RETURNED);
      return act(
          "the hidden VM is removed",
          () -> {
            SimHost.VmRecord record = host.vms.get(vm);
            if (record != null && migration.equals(record.tag)) {
              host.vms.remove(vm);
            }
          });
    }
  }

  private final class SimGuests implements Guests {
    @Override
    public CompletableFuture<Void> startIncoming(
        MigrationId migration, Plan plan, List<UUID> vdis) {
      journaled(JournalEntry.Kind.GUEST, plan.vmAtDestination().toString());
      UUID vm = plan.vmAtDestination();
      CompletableFuture<Void> made =
          act(
              "the receiving process starts",
              () -> {
                SimGuest there = host.guests.get(vm);
                require(there == null || there.state == GuestState.INCOMING, "there is a guest");
                if (there == null) {
                  host.guests.put(vm, new SimGuest(GuestState.INCOMING));
                }
              });
      return host.starting.isZero() ? made : made.thenCompose(done -> started(vm));
    }

    private CompletableFuture<Void> started(UUID vm) {
      CompletableFuture<Void> started = new CompletableFuture<>();
      host.starts.put(vm, started);
      world.later(host.starting, () -> started.complete(null));
      return started;
    }

    @Override
    public CompletableFuture<Void> makeMachine(MigrationId migration, Plan plan, List<UUID> vdis) {
      UUID vm = plan.vmAtDestination();
      journaled(JournalEntry.Kind.GUEST, vm.toString());
      return act(
          "the machine is made",
          () -> {
            SimGuest there = host.guests.get(vm);
            require(there == null || there.fresh, "there is a guest");
            if (there == null) {
              for (UUID vdi : vdis) {
                SimHost.Vdi disk = host.vdis.get(vdi);
                require(disk != null, "no such disk");
                world.check(
                    !host.exported(Objects.requireNonNull(disk)), Invariant.ONE_WRITES, host.name);
              }
              SimGuest machine = new SimGuest(GuestState.PAUSED);
              machine.fresh = true;
              machine.active = true;
              host.guests.put(vm, machine);
            }
          });
    }

    @Override
    public CompletableFuture<Void> unmakeMachine(UUID vm) {
      return act(
          "the machine that never ran is ended",
          () -> {
            SimGuest guest = host.guests.get(vm);
            if (guest != null) {
              require(guest.state != GuestState.RUNNING, "the guest runs");
              host.guests.remove(vm);
              world.checkMemory(vm, host.name + " ended its machine");
            }
          });
    }

    @Override
    public CompletableFuture<GuestState> observe(UUID vm) {
      return effect(
          "observed the guest",
          () -> {
            SimGuest guest = host.guests.get(vm);
            return guest == null ? GuestState.GONE : guest.state;
          });
    }

    @Override
    public CompletableFuture<Void> activate(UUID vm) {
      decided(vm, State.RECEIVING);
      return act(
          "the guest's disks are activated",
          () -> {
            SimGuest guest = host.guests.get(vm);
            require(guest != null && guest.state == GuestState.RECEIVED, "not received");
            SimHost.VmRecord record = host.vms.get(vm);
            if (record != null) {
              for (UUID vdi : record.vdis) {
                SimHost.Vdi disk = host.vdis.get(vdi);
                world.check(disk == null || !host.exported(disk), Invariant.ONE_WRITES, host.name);
              }
            }
            Objects.requireNonNull(guest).active = true;
          });
    }

    @Override
    public CompletableFuture<Void> resume(UUID vm) {
      return act(
          "resume",
          () -> {
            require(!host.refusingToRun, "the hypervisor runs no guest");
            SimGuest guest = host.guests.get(vm);
            if (guest == null) {
              throw new IllegalStateException("the guest is gone");
            }
            boolean recorded =
                host.ledgerDisk.rows().stream()
                    .anyMatch(row ->
                        row.vm().equals(vm)
                            && (row.state() == State.STARTING || row.state() == State.RUNNING));
            // The record on which a late one rests may be gone with its ledger.
            world.check(
                recorded || (world.operated && !process.alive()),
                Invariant.DURABLE_FIRST,
                "run without STARTING");
            world.run(host, vm, guest);
          });
    }

    @Override
    public CompletableFuture<Void> destroy(UUID vm) {
      decided(vm, State.ABORTED, State.RETURNED, State.STARTING);
      return act(
          "the guest's process ended",
          () -> {
            SimGuest guest = host.guests.remove(vm);
            if (guest != null) {
              world.check(guest.state != GuestState.RUNNING, Invariant.RUNNING_STAYS, host.name);
              world.checkMemory(vm, host.name + " destroyed its guest");
              if (!process.alive()) {
                host.mayHaveRun();
              }
            }
          });
    }

    @Override
    public CompletableFuture<Void> giveUp(UUID vm) {
      CompletableFuture<Void> ended =
          act(
              "the guest that never ran is ended",
              () -> {
                SimGuest guest = host.guests.get(vm);
                if (guest == null) {
                  return;
                }
                require(
                    guest.state != GuestState.RUNNING && guest.state != GuestState.PAUSED,
                    "the guest does not wait");
                host.guests.remove(vm);
                world.checkMemory(vm, host.name + " ended its guest");
                CompletableFuture<Void> start = host.starts.remove(vm);
                if (start != null) {
                  start.completeExceptionally(new RefusedException("the process ended"));
                }
              });
      return host.ending.isZero() ? ended : ended.thenCompose(done -> after(host.ending));
    }

    private CompletableFuture<Void> after(Duration time) {
      CompletableFuture<Void> passed = new CompletableFuture<>();
      world.later(time, () -> passed.complete(null));
      return passed;
    }

    @Override
    public CompletableFuture<Void> announce(UUID vm) {
      return act("the networks are told", () -> {});
    }
  }
}
