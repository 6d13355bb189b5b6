package io.xenferry.simulation;

import io.xenferry.block.BlockException;
import io.xenferry.copy.BlockMap;
import io.xenferry.copy.CopyEngine;
import io.xenferry.copy.CopyListener;
import io.xenferry.copy.CopyOptions;
import io.xenferry.copy.CopyOptions.Verify;
import io.xenferry.copy.Destination;
import io.xenferry.copy.DiskPlan;
import io.xenferry.copy.MemoryDirtyLog;
import io.xenferry.copy.Strategy;
import io.xenferry.migration.ports.CopyJob;
import io.xenferry.migration.ports.DestinationDisks;
import io.xenferry.migration.ports.EngineCopyJob;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.ports.MemoryProgress;
import io.xenferry.migration.ports.MemoryTarget;
import io.xenferry.migration.ports.SourcePorts;
import io.xenferry.migration.state.DiskTarget;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Plan;
import io.xenferry.migration.state.State;
import io.xenferry.time.SimulatedScheduler;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.function.BooleanSupplier;

/** The source's effects, with the product's own copy engine. */
final class SimSourcePorts extends SimPorts implements SourcePorts {
  private static final CopyOptions OPTIONS =
      CopyOptions.DEFAULT
          .withDepth(4)
          .withPassLimit(6)
          .withResumeWindow(Duration.ofSeconds(8))
          .withVerify(Verify.NOTHING);

  private final CopyEngine engine;

  /** Those that this server has started, also where nobody was told. */
  private final Map<MigrationId, CopyJob> jobs = new HashMap<>();

  private long generations;

  SimSourcePorts(World world, SimHost host, SimulatedScheduler.Process process) {
    super(world, host, process);
    this.engine =
        new CopyEngine(
            4 * SimDisk.BLOCK, 64L * SimDisk.BLOCK * world.scale.vms(), ByteBuffer::allocate);
  }

  @Override
  public Guests guests() {
    return new SimGuests();
  }

  @Override
  public Copies copies() {
    return new SimCopies();
  }

  @Override
  public SourcePorts.Objects objects() {
    return new SimObjects();
  }

  private final class SimGuests implements Guests {

    @Override
    public CompletableFuture<GuestState> observe(UUID vm) {
      CompletableFuture<Void> asked = new CompletableFuture<>();
      world.later(host.observing, () -> asked.complete(null));
      return asked.thenCompose(done -> look(vm));
    }

    private CompletableFuture<GuestState> look(UUID vm) {
      return effect(
          "observed the guest",
          () -> {
            SimGuest guest = host.guests.get(vm);
            if (guest != null
                && world.variant == Variant.RESUME_RACES_COMMITTING
                && guest.state == GuestState.PRE_SWITCHOVER
                && guest.claimsSent) {
              return GuestState.SENT;
            }
            return guest == null ? GuestState.GONE : guest.state;
          });
    }

    @Override
    public CompletableFuture<GuestState> ended(UUID vm) {
      return host.ends.watch(vm);
    }

    @Override
    public CompletableFuture<Void> sendMemory(Plan plan, MemoryTarget target) {
      UUID vm = plan.vm();
      decided(vm, State.SENDING);
      return act(
          "memory is nearly sent",
          () -> {
            SimGuest guest = host.guests.get(vm);
            SimGuest incoming = world.host(target.url()).guests.get(vm);
            require(guest != null && guest.state == GuestState.RUNNING, "send: no guest");
            require(
                incoming != null
                    && incoming.state == GuestState.INCOMING
                    && !world.cut()
                    && world.host(target.url()).serverUp()
                    && !world.host(target.url()).showsAnotherCertificate(),
                "send: nobody listens");
            SimGuest sender = java.util.Objects.requireNonNull(guest);
            sender.sending = true;
            sender.receiver = incoming;
            sender.memory.send(java.util.Objects.requireNonNull(incoming).memory);
          });
    }

    @Override
    public CompletableFuture<Void> limits(Plan plan) {
      return CompletableFuture.completedFuture(null);
    }

    @Override
    public CompletableFuture<Void> pause(Plan plan) {
      UUID vm = plan.vm();
      decided(vm, State.SENDING);
      return act(
          "the hypervisor paused the guest",
          () -> {
            SimGuest guest = host.guests.get(vm);
            require(
                guest != null && guest.sending && guest.state == GuestState.RUNNING,
                "pause: not sending");
            SimGuest receiver = java.util.Objects.requireNonNull(guest).receiver;
            require(
                receiver != null && receiver == world.other(host).guests.get(vm),
                "pause: the stream broke");
            if (host.failingPauses > 0) {
              host.failingPauses--;
              java.util.Objects.requireNonNull(guest).sending = false;
              world.other(host).guests.remove(vm);
              return;
            }
            java.util.Objects.requireNonNull(guest).state = GuestState.PRE_SWITCHOVER;
          });
    }

    @Override
    public CompletableFuture<Void> finishMemory(UUID vm) {
      decided(vm, State.SWITCHING);
      return act(
          "the memory is sent",
          () -> {
            SimGuest guest = host.guests.get(vm);
            SimGuest incoming = world.other(host).guests.get(vm);
            require(
                guest != null && guest.sending && guest.state == GuestState.PRE_SWITCHOVER,
                "finish: not paused for the switch");
            require(
                incoming != null
                    && incoming == java.util.Objects.requireNonNull(guest).receiver
                    && incoming.state == GuestState.INCOMING
                    && !world.cut(),
                "finish: the stream broke");
            SimGuest sender = java.util.Objects.requireNonNull(guest);
            SimGuest receiver = java.util.Objects.requireNonNull(incoming);
            sender.memory.sendRest(receiver.memory);
            receiver.state = GuestState.RECEIVED;
            if (world.variant == Variant.RESUME_RACES_COMMITTING) {
              sender.claimsSent = true;
              world.scheduler.schedule(
                  world.latency(40),
                  () -> {
                    // The hypervisor's own migration fails late, and it resumes the guest itself.
                    if (host.guests.get(vm) == sender
                        && sender.state == GuestState.PRE_SWITCHOVER) {
                      world.run(host, vm, sender);
                    }
                  });
            } else {
              sender.state = GuestState.SENT;
              sender.sending = false;
            }
          });
    }

    @Override
    public CompletableFuture<Void> cancelMemory(UUID vm) {
      // While it is still SENDING an operator may have it wait, and the guest has run throughout.
      decided(vm, State.OWNED, State.SENDING);
      return act(
          "the hypervisor's migration is cancelled",
          () -> {
            SimGuest guest = host.guests.get(vm);
            if (guest != null) {
              guest.sending = false;
              guest.receiver = null;
              if (guest.state == GuestState.PRE_SWITCHOVER || guest.state == GuestState.SENT) {
                guest.state = GuestState.PAUSED;
              }
            }
          });
    }

    @Override
    public MemoryProgress memoryProgress(UUID vm) {
      return MemoryProgress.NONE;
    }

    @Override
    public CompletableFuture<Void> shutDown(UUID vm, boolean byAgent) {
      world.check(
          !world.inspecting || !process.alive() || host.ends.toldToStop(vm),
          Invariant.DURABLE_FIRST,
          host.name + " tells its guest to shut down");
      CompletableFuture<Void> asked = new CompletableFuture<>();
      world.later(host.asking, () -> asked.complete(null));
      return asked.thenCompose(done -> askedToShutDown(vm));
    }

    private CompletableFuture<Void> askedToShutDown(UUID vm) {
      return act(
          "the guest is asked to shut down",
          () -> {
            SimGuest guest = host.guests.get(vm);
            if (host.asksUnheeded > 0) {
              host.asksUnheeded--;
            } else if (guest != null && host.shutsDownIn.isPresent()) {
              int boot = guest.boots;
              world.later(
                  host.shutsDownIn.get(),
                  () -> {
                    if (guest.boots == boot) {
                      host.ends.heed(vm, guest);
                    }
                  });
            }
          });
    }

    @Override
    public CompletableFuture<Void> stop(UUID vm) {
      decided(vm, State.SENDING);
      CompletableFuture<Void> asked = new CompletableFuture<>();
      world.later(host.stopping, () -> asked.complete(null));
      return asked.thenCompose(done -> stopped(vm));
    }

    private CompletableFuture<Void> stopped(UUID vm) {
      return act(
          "the guest is stopped",
          () -> {
            SimGuest guest = host.guests.get(vm);
            require(guest != null, "stop: no guest");
            if (java.util.Objects.requireNonNull(guest).state == GuestState.RUNNING) {
              guest.state = GuestState.PAUSED;
            }
          });
    }

    @Override
    public CompletableFuture<Void> boot(UUID vm, boolean seenHere) {
      decided(vm, State.OWNED);
      return act(
          "boot",
          () -> {
            SimGuest guest = host.guests.get(vm);
            if (guest != null && guest.state == GuestState.SHUTDOWN) {
              world.count("guests booted again");
              guest.boots++;
              world.first.boot(guest, true);
              world.run(host, vm, guest);
              world.first.memoryLost = false;
            }
          });
    }

    @Override
    public CompletableFuture<Void> resume(UUID vm) {
      decided(vm, State.OWNED);
      return act(
          "resume",
          () -> {
            SimGuest guest = host.guests.get(vm);
            require(guest != null && !guest.state.ended(), "resume: no guest");
            world.run(host, vm, java.util.Objects.requireNonNull(guest));
          });
    }

    @Override
    public CompletableFuture<Void> destroy(UUID vm) {
      decided(vm, State.GIVEN);
      return act(
          "the guest's process ended",
          () -> {
            SimGuest guest = host.guests.remove(vm);
            if (guest != null) {
              world.check(guest.state != GuestState.RUNNING, Invariant.RUNNING_STAYS, host.name);
              world.checkMemory(vm, host.name + " destroyed its guest");
            }
          });
    }
  }

  private final class SimCopies implements Copies {

    @Override
    public CompletableFuture<CopyJob> start(
        MigrationId migration, Plan plan, List<DiskTarget> targets, DestinationDisks there) {
      return copy(migration, plan, targets, there, false);
    }

    @Override
    public CompletableFuture<CopyJob> goOn(
        MigrationId migration, Plan plan, List<DiskTarget> targets, DestinationDisks there) {
      return copy(migration, plan, targets, there, true);
    }

    private CompletableFuture<CopyJob> copy(
        MigrationId migration,
        Plan plan,
        List<DiskTarget> targets,
        DestinationDisks there,
        boolean again) {
      decided(plan.vm(), State.SENDING);
      return effect(
          again ? "the copy goes on" : "the copy starts",
          () -> {
            if (!process.alive()) {
              throw new SimulatedCrash(host.name);
            }
            List<DiskPlan> plans = new ArrayList<>();
            for (int i = 0; i < plan.disks().size(); i++) {
              Plan.Disk disk = plan.disks().get(i);
              DiskTarget target = targets.get(i);
              SimHost.Vdi source = host.vdis.get(disk.vdi());
              require(source != null, "no such disk");
              SimDisk content = java.util.Objects.requireNonNull(source).disk;
              String name = migration + "-" + disk.vdi();
              MemoryDirtyLog before = again ? host.dirtyLogs.get(name) : null;
              Optional<SimSource> noted = again ? content.noted(migration) : Optional.empty();
              MemoryDirtyLog log =
                  before != null && before.begun() && (noted.isPresent() || !plan.running())
                      ? before.afterCrash(process)
                      : new MemoryDirtyLog(
                          new BlockMap(content.size(), SimDisk.BLOCK),
                          process,
                          () -> world.latency(2));
              host.dirtyLogs.put(name, log);
              SimSource watched =
                  new SimSource(
                      disk.device(), content, log, world, migration, process(plan), process);
              watched.takeUp(noted);
              boolean based = there.isBased(disk.vdi());
              boolean knownZero = before == null && !based;
              if (!knownZero) {
                watched.sendsZeroesToo();
              }
              plans.add(
                  new DiskPlan(watched, () -> open(migration, watched, target), knownZero, log)
                      .withStrategy(Strategy.of(disk.strategy()).orElseThrow())
                      .withDigests(
                          (range, block, digest) -> there.digests(disk.vdi(), range, block, digest),
                          based || before != null && !log.begun()));
            }
            CopyJob job =
                new EngineCopyJob(
                    engine,
                    plan.disks(),
                    plans,
                    OPTIONS.withVerify(Verify.of(plan.options().get(Verify.OPTION))),
                    process,
                    new CopyListener() {});
            jobs.put(migration, job);
            return job;
          });
    }

    /** A running guest's process is what offers its disks. */
    private BooleanSupplier process(Plan plan) {
      SimGuest guest = host.guests.get(plan.vm());
      return () -> !plan.running() || host.guests.get(plan.vm()) == guest;
    }

    private CompletableFuture<Destination> open(
        MigrationId migration, SimSource source, DiskTarget target) {
      CompletableFuture<Destination> opened = new CompletableFuture<>();
      SimHost peer = world.other(host);
      String export = target.url().substring(target.url().lastIndexOf('/') + 1);
      world.later(
          world.latency(5),
          () -> {
            Optional<SimTgtd.Session> login =
                world.cut() ? Optional.empty() : peer.tgtd.login(export);
            SimHost.Vdi vdi =
                login
                    .map(session -> peer.vdis.get(SimExports.disk(session.backing())))
                    .orElse(null);
            if (vdi == null) {
              opened.completeExceptionally(
                  new BlockException(BlockException.Kind.LOST, "no such export"));
              return;
            }
            source.copiedTo(vdi.disk);
            opened.complete(
                new Destination(
                    new SimBackend(
                        export, vdi.disk, world, migration, peer, login.orElseThrow()::isOpen),
                    ++generations));
          });
      return opened;
    }

    @Override
    public CompletableFuture<Void> cleanUp(MigrationId migration, Plan plan) {
      decided(plan.vm(), State.OWNED, State.GIVEN);
      CopyJob job = jobs.remove(migration);
      CompletableFuture<Void> closed =
          job == null ? CompletableFuture.completedFuture(null) : job.close();
      return closed
          .exceptionally(failure -> null)
          .thenCompose(done -> removeBitmaps(migration, plan));
    }

    private CompletableFuture<Void> removeBitmaps(MigrationId migration, Plan plan) {
      return act(
          "dirty bitmaps are removed",
          () -> {
            for (Plan.Disk disk : plan.disks()) {
              host.dirtyLogs.remove(migration + "-" + disk.vdi());
              SimHost.Vdi vdi = host.vdis.get(disk.vdi());
              if (vdi != null) {
                vdi.disk.trackers.clear();
                vdi.disk.mirrors.clear();
                vdi.disk.copies.clear();
              }
            }
          });
    }
  }

  private final class SimObjects implements SourcePorts.Objects {
    @Override
    public CompletableFuture<Void> removeVm(MigrationId migration, Plan plan) {
      decided(plan.vm(), State.GIVEN);
      return act("the VM's record is removed", () -> host.vms.remove(plan.vm()));
    }

    @Override
    public CompletableFuture<Void> destroyDisk(MigrationId migration, UUID vm, Plan.Disk disk) {
      decided(vm, State.GIVEN);
      return act(
          "disk " + disk.device() + " is destroyed",
          () -> {
            host.vdis.remove(disk.vdi());
            world.checkCompleteCopy(host.name + " destroyed a disk");
          });
    }

    @Override
    public CompletableFuture<Void> keep(MigrationId migration, Plan plan, UUID keptVm) {
      decided(plan.vm(), State.GIVEN);
      return act(
          "the source is kept",
          () -> {
            SimHost.VmRecord record = host.vms.remove(plan.vm());
            if (record != null) {
              host.vms.put(keptVm, record);
            }
          });
    }
  }
}
