package io.xenferry.migration.ports;

import io.xenferry.block.Range;
import io.xenferry.copy.BlockHashes;
import io.xenferry.copy.Digest;
import io.xenferry.migration.preflight.Obstacle;
import io.xenferry.migration.state.DiskTarget;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Places;
import io.xenferry.migration.state.Plan;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;

/**
 * What the coordinator asks of the destination host. The rules of {@link SourcePorts} for threads,
 * deadlines and repetition. Everything created is tagged with the migration in the same call, so
 * that a scan finds it; its name was journaled before.
 */
public interface DestinationPorts {

  Storage storage();

  Metadata metadata();

  Guests guests();

  /** How many moves may arrive at once, here and at these SRs; from memory. */
  Places places(Set<String> srs);

  /** Disks and exports. */
  interface Storage {

    /** Every obstacle that making these disks would meet; no side effects. */
    CompletableFuture<List<Obstacle>> check(Plan plan);

    /**
     * Looks whether what these disks do not occupy yet still fits on their SRs; no side effects.
     * Fails with SR_FULL [bytes to come, bytes free] where an SR is full.
     */
    CompletableFuture<Void> checkRoom(List<UUID> vdis);

    /**
     * Creates a disk with this uuid: an empty one that reads as zeroes, or, where the plan allows
     * it and there is one that may have much in common with it, a copy of that.
     *
     * @return whether it is a copy
     */
    CompletableFuture<Boolean> createVdi(MigrationId migration, Plan.Disk disk, UUID vdi);

    /** Whether a disk that was created began as a copy. Fails when it is not there. */
    CompletableFuture<Boolean> isCopy(UUID vdi);

    /** Offers a disk under exactly this name and account; answers how to reach it. */
    CompletableFuture<DiskTarget> export(MigrationId migration, Plan.Disk disk, ExportSpec export);

    /**
     * The fence, and then the same export once more, perhaps elsewhere: when this has completed, no
     * write that was sent through it before can take effect any more.
     */
    CompletableFuture<DiskTarget> exportAnew(
        MigrationId migration, Plan.Disk disk, ExportSpec export);

    /**
     * What an exported disk holds in a range, as its export would show it, hashed here.
     *
     * @return of the range's first blocks, one at least; the rest is asked about again
     */
    CompletableFuture<BlockHashes> digests(UUID vdi, Range range, int blockSize, Digest digest);

    /**
     * The fence: completes when no write through the export can take effect any more. An export
     * that is not there is no error.
     */
    CompletableFuture<Void> closeExport(MigrationId migration, ExportSpec export);

    /** Removes the account of a closed export. One that is not there is no error. */
    CompletableFuture<Void> removeAccount(MigrationId migration, String account);

    /** Flushes the disk to stable storage. */
    CompletableFuture<Void> seal(UUID vdi);

    /** Destroys a disk that was created for this migration, and only then; gone is no error. */
    CompletableFuture<Void> destroyVdi(MigrationId migration, UUID vdi);
  }

  /**
   * One export.
   *
   * @param name for a target's name; unique on the host, letters, digits, hyphens
   * @param vdi the disk behind it
   * @param account user name, for this migration only
   * @param secret CHAP secret; empty when the export is only to be closed
   */
  record ExportSpec(String name, UUID vdi, String account, String secret) {

    /** Without the secret. */
    @Override
    public String toString() {
      return "ExportSpec[" + name + " of " + vdi + "]";
    }
  }

  /** The VM's record at the destination. */
  interface Metadata {

    /** What is here of a VM's record. */
    enum Standing {
      ABSENT,
      /** It came with a migration, and no client sees it yet. */
      HIDDEN,
      SHOWN
    }

    CompletableFuture<Standing> standing(UUID vm);

    /** Every obstacle that importing this VM would meet; no side effects. */
    CompletableFuture<List<Obstacle>> check(Plan plan, String metadata);

    /**
     * The same look, for a migration that is RECEIVING: where nothing stands against it, a VM that
     * runs is promised its memory until its record is here, which then says so itself.
     */
    CompletableFuture<List<Obstacle>> admit(MigrationId migration, Plan plan, String metadata);

    /**
     * Creates the VM's record, hidden and locked.
     *
     * @param metadata the source's document
     * @param vdis the disks' uuids here, in the order of the plan
     */
    CompletableFuture<Void> importHidden(
        MigrationId migration, Plan plan, String metadata, List<UUID> vdis);

    /** The VM is this host's: shows it, running or halted as the guest is. */
    CompletableFuture<Void> reveal(MigrationId migration, Plan plan);

    /** Removes a hidden record of this migration; gone is no error. */
    CompletableFuture<Void> remove(MigrationId migration, UUID vm);
  }

  /** The guest at the destination. */
  interface Guests {

    /** Starts a process that waits for the memory and never runs by itself. */
    CompletableFuture<Void> startIncoming(MigrationId migration, Plan plan, List<UUID> vdis);

    /**
     * Makes the machine that a warm move's guest will boot on, with its disks, standing still
     * before its first instruction: PAUSED. One that is there is no error.
     */
    CompletableFuture<Void> makeMachine(MigrationId migration, Plan plan, List<UUID> vdis);

    CompletableFuture<GuestState> observe(UUID vm);

    /** Makes the disks of a RECEIVED guest its own; what can fail about them fails here. */
    CompletableFuture<Void> activate(UUID vm);

    /**
     * Lets it run; completes when it is seen running. {@link RefusedException} only if it provably
     * did not run.
     */
    CompletableFuture<Void> resume(UUID vm);

    /** Ends the process; completes when it is gone. */
    CompletableFuture<Void> destroy(UUID vm);

    /**
     * Ends a process that waits for its memory, or has it and has never run; completes when it is
     * gone. Fails, and ends nothing, where the guest runs or is paused: it is no migration's any
     * more.
     */
    CompletableFuture<Void> giveUp(UUID vm);

    /**
     * Ends what {@link #makeMachine} has made and has never run; completes when it is gone. Fails,
     * and ends nothing, where the guest runs.
     */
    CompletableFuture<Void> unmakeMachine(UUID vm);

    /** Tells the networks where the guest's MACs are now. */
    CompletableFuture<Void> announce(UUID vm);
  }
}
