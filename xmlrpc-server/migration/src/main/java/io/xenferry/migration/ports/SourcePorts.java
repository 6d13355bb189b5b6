package io.xenferry.migration.ports;

import io.xenferry.migration.state.DiskTarget;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Plan;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;

/**
 * What the coordinator asks of the source host. Methods return at once and may be called only on
 * the coordinator's scheduler; their futures may complete on any thread. A future that never
 * completes is met by a deadline of the coordinator's. Effects are idempotent: the coordinator
 * repeats them after a failure or a restart.
 */
public interface SourcePorts {

  Guests guests();

  Copies copies();

  Objects objects();

  /** The guest at the source. */
  interface Guests {

    /** Asks the guest's process itself. */
    CompletableFuture<GuestState> observe(UUID vm);

    /**
     * Completes with SHUTDOWN or GONE once the guest has ended, by whoever's doing, also when that
     * was before the call; a guest that is reset goes on. Who no longer waits cancels it.
     */
    CompletableFuture<GuestState> ended(UUID vm);

    /**
     * Starts sending the memory, and completes when what is left fits the downtime. The guest runs
     * on: the hypervisor must not pause it before {@link #pause}.
     *
     * @param plan whose options say how fast, and what the downtime is
     */
    CompletableFuture<Void> sendMemory(Plan plan, MemoryTarget target);

    /**
     * What the move may take has changed: holds for the memory that is being sent, if any is, until
     * {@link #pause}.
     *
     * @param plan whose options say how fast, and what the downtime is
     */
    CompletableFuture<Void> limits(Plan plan);

    /**
     * Lets the hypervisor pause the guest; completes when it is seen PRE_SWITCHOVER.
     *
     * @param plan whose options say what the downtime is
     */
    CompletableFuture<Void> pause(Plan plan);

    /** Sends the rest; completes when the guest is seen SENT. */
    CompletableFuture<Void> finishMemory(UUID vm);

    /**
     * Ends the sending; the guest stays paused or running as it is, and once this has completed a
     * {@link #pause} that was under way no longer takes effect. Nothing to end is no error.
     */
    CompletableFuture<Void> cancelMemory(UUID vm);

    /** What is known now, without asking. */
    MemoryProgress memoryProgress(UUID vm);

    /**
     * Asks the guest of a warm move to shut down, which it may do much later, or not at all: {@link
     * #ended} tells. One that has shut down is no error.
     *
     * @param byAgent by its agent, where it has one that answers; else by its power button
     */
    CompletableFuture<Void> shutDown(UUID vm, boolean byAgent);

    /**
     * Stops a guest that does not shut down, as if its power failed, but for what the hypervisor
     * has of its writes; completes when it is seen PAUSED. Its process stays.
     */
    CompletableFuture<Void> stop(UUID vm);

    /**
     * Boots a guest again that has shut down for a warm move, in the process that it has. One that
     * runs is no error; one that has crashed, or whose process is gone, is dealt with as any other
     * that ends so.
     *
     * @param seenHere whether this server has seen it run; else the host may have been restarted
     *     since
     */
    CompletableFuture<Void> boot(UUID vm, boolean seenHere);

    /** Lets a paused guest run, and ends any sending first. One that runs is no error. */
    CompletableFuture<Void> resume(UUID vm);

    /** Ends the guest's process; completes when it is gone. */
    CompletableFuture<Void> destroy(UUID vm);
  }

  /** Copies of disks. */
  interface Copies {

    /**
     * Starts copying all disks of the plan. Fails if a target cannot be reached.
     *
     * @param there what the destination tells of the disks
     */
    CompletableFuture<CopyJob> start(
        MigrationId migration, Plan plan, List<DiskTarget> targets, DestinationDisks there);

    /**
     * The same, where a server before this one has begun it, and nothing that it sent can take
     * effect any more: what it has brought to stable storage there for certain is not sent again.
     * Where nothing is certain all of a disk is compared, or sent where that cannot be.
     */
    CompletableFuture<CopyJob> goOn(
        MigrationId migration, Plan plan, List<DiskTarget> targets, DestinationDisks there);

    /**
     * Removes whatever a copy of this migration has left, also one of a server before this one:
     * bitmaps, exports, logs, sessions.
     */
    CompletableFuture<Void> cleanUp(MigrationId migration, Plan plan);
  }

  /** The VM's record and disks at the source, after it has been given. */
  interface Objects {

    /** Removes the VM's record, so that it is shown no longer. */
    CompletableFuture<Void> removeVm(MigrationId migration, Plan plan);

    /** Destroys one disk of the VM; one that is gone is no error, one that is used is. */
    CompletableFuture<Void> destroyDisk(MigrationId migration, UUID vm, Plan.Disk disk);

    /** Gives the kept VM a uuid of its own and locks it against starting. */
    CompletableFuture<Void> keep(MigrationId migration, Plan plan, UUID keptVm);
  }
}
