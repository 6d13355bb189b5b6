package io.xenferry.server.storage;

import io.xenferry.block.BlockBackend;
import io.xenferry.copy.CopyEngine;
import io.xenferry.migration.gate.Gate;
import io.xenferry.migration.gate.Operation;
import io.xenferry.migration.preflight.Obstacle;
import io.xenferry.migration.preflight.Survey;
import io.xenferry.migration.state.Role;
import io.xenferry.model.Ref;
import io.xenferry.model.SR;
import io.xenferry.model.VBD;
import io.xenferry.model.VDI;
import io.xenferry.model.VM;
import io.xenferry.model.Value;
import io.xenferry.model.VdiOperations;
import io.xenferry.model.VmOperations;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.call.Registry;
import io.xenferry.server.task.Task;
import io.xenferry.server.vm.GuestSpecs;
import io.xenferry.server.vm.VmAdmission;
import io.xenferry.spi.Hypervisor;
import io.xenferry.sr.Progress;
import io.xenferry.sr.SmapiException;
import io.xenferry.sr.VdiInfo;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Moves disks of VMs between SRs of this host. The VDI at the other SR is a new one, with a uuid of
 * its own, as clients of the published server expect.
 *
 * <ol>
 *   <li>A note of both uuids is written to stable storage; then the new disk is made, tagged.
 *   <li>The content is copied. A guest that writes the disk goes on meanwhile; at the end it stands
 *       still until both disks are the same and flushed, and goes on with the new one: see {@link
 *       RunningMoves}.
 *   <li>One transaction of the database lets the VBDs and snapshots follow: the commit point.
 *   <li>The tag is removed, the old disk destroyed, the note removed.
 * </ol>
 *
 * A server that dies leaves the note. The next one asks the guest which disk it has, where there is
 * one, else the database, and destroys the other.
 */
public final class DiskMoves {
  private static final Logger log = LoggerFactory.getLogger(DiskMoves.class);

  private final ObjectDatabase database;
  private final HostStorage storage;
  private final MigrationDisks disks;
  private final Hypervisor hypervisor;
  private final VmAdmission admission;
  private final Gate gate;
  private final MoveNotes notes;
  private final MovedRecords records;
  private final DiskOperations operations;
  private final RunningMoves running;
  private final DiskClaims claims = new DiskClaims();

  /** Notes of what this server is moving are not for it to end. */
  private final Set<UUID> underWay = ConcurrentHashMap.newKeySet();

  /**
   * @param engine copies disks that guests write
   * @param directory of the notes about moves that have not ended
   */
  public DiskMoves(
      ObjectDatabase database,
      HostStorage storage,
      Hypervisor hypervisor,
      VmAdmission admission,
      Gate gate,
      CopyEngine engine,
      Path directory) {
    this.database = database;
    this.storage = storage;
    this.disks = storage.migrationDisks();
    this.hypervisor = hypervisor;
    this.admission = admission;
    this.gate = gate;
    this.notes = new MoveNotes(directory);
    this.records = new MovedRecords(database);
    this.operations = new DiskOperations(database);
    this.running = new RunningMoves(database, storage, hypervisor, admission, gate, engine, notes);
  }

  /**
   * @param format of the new image; empty for the SR's own choice
   * @param bytesPerSecond limit for the disk of a running VM; 0 for none
   */
  public record How(Optional<String> format, long bytesPerSecond) {}

  /** Whether a disk's tag is of a move within the host: notes tell of it, not the ledger. */
  public static boolean isTag(String tag) {
    return tag.startsWith(DiskMove.TAG);
  }

  /**
   * Moves a disk and waits until it is there.
   *
   * @param how the new image's format, and the limit
   * @param task shows the progress, and may be cancelled while the content is copied
   * @return the new VDI; the old one when it is on that SR already
   * @throws XenApiException VDI_NEEDS_VM_FOR_MIGRATE, VDI_INCOMPATIBLE_TYPE, VDI_CBT_ENABLED,
   *     VM_BAD_POWER_STATE also when the guest ends in the middle, OTHER_OPERATION_IN_PROGRESS,
   *     SR_NOT_ATTACHED, SR_FULL, VDI_IN_USE when several guests have it, VDI_COPY_FAILED,
   *     INVALID_VALUE for another format of a disk that is there already, TASK_CANCELLED
   */
  public Ref<VDI> move(Ref<VDI> vdi, Ref<SR> sr, How how, Task task)
      throws XenApiException, InterruptedException {
    endLeftovers();
    List<AutoCloseable> held = new ArrayList<>();
    try {
      held.add(claims.claim(vdi));
      Set<Ref<VM>> vms = MoveChecks.check(database.snapshot(), vdi, sr);
      for (Ref<VM> vm : vms) {
        String uuid = database.snapshot().get(vm, VM.UUID);
        held.add(gate.enter(UUID.fromString(uuid), Operation.DESTROY_DISK));
        held.add(admission.begin(vm, VmOperations.MIGRATE_SEND, task.ref()));
      }
      Snapshot db = database.snapshot();
      MoveChecks.checkFormat(db, vdi, sr, how.format());
      if (db.get(vdi, VDI.SR).equals(sr)) {
        return vdi;
      }
      Optional<GuestSpecs.VmDisk> live = MoveChecks.live(db, vdi, vms);
      storage.requireAttached(db.get(vdi, VDI.SR));
      Survey survey = new Survey(Role.SOURCE);
      disks.checkSpace(survey, Map.of(sr.opaque(), db.get(vdi, VDI.VIRTUAL_SIZE)));
      Optional<Obstacle> obstacle = survey.found().stream().findFirst();
      if (obstacle.isPresent()) {
        throw obstacle.get().toException().toXenApi();
      }
      checkFormat(vdi, sr, how.format(), live.isPresent());
      held.add(operations.begin(vdi, VdiOperations.MIRROR, task.ref()));
      return move(vdi, sr, how, vms, live, task);
    } finally {
      release(held);
    }
  }

  /**
   * Checks that the disk can be made in that SR as is asked for, and used by its guest.
   *
   * @param format of the new image; empty for the SR's own choice
   * @param live whether a guest is to go on with it
   * @throws XenApiException HANDLE_INVALID, SR_NOT_ATTACHED, VDI_INCOMPATIBLE_TYPE
   */
  public void checkFormat(Ref<VDI> vdi, Ref<SR> sr, Optional<String> format, boolean live)
      throws XenApiException {
    UUID uuid = UUID.fromString(database.snapshot().get(vdi, VDI.UUID));
    disks.checkFormat(sr.opaque(), uuid, format, live ? hypervisor::opens : any -> true);
  }

  /** Lets no message change a disk that moves; for messages that are registered already. */
  public void guard(Registry registry) {
    for (String message :
        List.of(
            "VDI.snapshot",
            "VDI.clone",
            "VDI.copy",
            "VDI.resize",
            "VDI.resize_online",
            "VDI.destroy",
            "VDI.forget",
            "VDI.enable_cbt",
            "VDI.disable_cbt",
            "VDI.data_destroy")) {
      registry.guard(message, call -> claims.enter(call.ref(0)));
    }
    registry.guard(
        "VDI.revert",
        call -> claims.enter(database.snapshot().get(call.<VDI>ref(0), VDI.SNAPSHOT_OF)));
    // What it compares with, and what it writes.
    registry.guard("VDI.copy", call -> claims.enter(call.ref(2)));
    registry.guard("VDI.copy", call -> claims.enter(call.ref(3)));
    registry.guard(
        "VBD.create",
        call ->
            claims.enter(
                call.members(0).get("VDI") instanceof Value.Text(String ref)
                    ? Ref.of(ref)
                    : Ref.nullRef()));
  }

  private static void release(List<AutoCloseable> held) {
    for (AutoCloseable one : held.reversed()) {
      try {
        one.close();
      } catch (Exception e) {
        log.warn("the end of a disk's move is not noted everywhere", e);
      }
    }
  }

  private Ref<VDI> move(
      Ref<VDI> vdi,
      Ref<SR> sr,
      How how,
      Set<Ref<VM>> vms,
      Optional<GuestSpecs.VmDisk> live,
      Task task)
      throws XenApiException, InterruptedException {
    Snapshot db = database.snapshot();
    Optional<DiskMove.Running> guest = Optional.empty();
    if (live.isPresent()) {
      UUID vm = UUID.fromString(db.get(db.get(live.get().vbd(), VBD.VM), VM.UUID));
      guest = Optional.of(new DiskMove.Running(vm, live.get().device(), false));
    }
    DiskMove move =
        new DiskMove(
            UUID.fromString(db.get(vdi, VDI.UUID)),
            UUID.randomUUID(),
            UUID.fromString(db.get(sr, SR.UUID)),
            guest);
    underWay.add(move.to());
    boolean committed = false;
    List<AutoCloseable> held = new ArrayList<>();
    try {
      notes.write(move);
      Ref<VDI> made = create(move, vdi, sr, how.format());
      held.add(claims.claim(made));
      RunningMoves.Commit commit = () -> records.commit(vdi, made, vms);
      if (live.isPresent() && live.get().writable()) {
        running.copyAndSwitch(
            move,
            made,
            new GuestDiskCopy.Target(() -> open(made), how.bytesPerSecond()),
            commit,
            task);
      } else {
        copy(vdi, made, task);
        if (live.isPresent()) {
          running.switchReader(move, made, commit);
        } else {
          commit.run();
        }
      }
      committed = true;
      task.progress(0.99);
      return made;
    } finally {
      // Once committed it has happened, whatever becomes of what is left.
      end(move, committed || records.committed(move));
      release(held);
      underWay.remove(move.to());
    }
  }

  private Ref<VDI> create(DiskMove move, Ref<VDI> vdi, Ref<SR> sr, Optional<String> format)
      throws XenApiException {
    Snapshot db = database.snapshot();
    VdiInfo wanted =
        VdiInfo.request(db.get(vdi, VDI.NAME_LABEL), db.get(vdi, VDI.VIRTUAL_SIZE))
            .withUuid(move.to().toString())
            .withSmConfig(VdiInfo.SM_CONFIG_MIGRATION, move.tag())
            .edit()
            .nameDescription(db.get(vdi, VDI.NAME_DESCRIPTION))
            .type(db.get(vdi, VDI.TYPE).wire())
            .done();
    return storage.createVdi(
        sr,
        format.isPresent() ? wanted.withSmConfig(VdiInfo.SM_CONFIG_FORMAT, format.get()) : wanted);
  }

  private BlockBackend open(Ref<VDI> made) throws XenApiException {
    Snapshot db = database.snapshot();
    String sr = db.get(db.get(made, VDI.SR), SR.UUID);
    String location = db.get(made, VDI.LOCATION);
    return HostStorage.driver(() -> storage.mux().repository(sr).open(location, true));
  }

  private void copy(Ref<VDI> from, Ref<VDI> to, Task task) throws XenApiException {
    Snapshot db = database.snapshot();
    task.cancellable(true);
    try (BlockBackend target = open(to)) {
      storage
          .mux()
          .copy(
              db.get(db.get(from, VDI.SR), SR.UUID),
              db.get(from, VDI.LOCATION),
              target,
              new Progress() {
                @Override
                public void report(double fraction) {
                  task.progress(0.98 * fraction);
                }

                @Override
                public boolean isCancelled() {
                  return task.cancelled();
                }
              });
    } catch (SmapiException e) {
      task.throwIfCancelled();
      throw e.toXenApi();
    } finally {
      task.cancellable(false);
    }
    task.throwIfCancelled();
  }

  /** Destroys the disk that has become superfluous; what fails is left to be tried again. */
  private void end(DiskMove move, boolean committed) {
    UUID left = committed ? move.from() : move.to();
    try {
      if (running.mayUse(move, left)) {
        log.error("the guest may still have VDI {} of a disk's move: both disks are kept", left);
        return;
      }
      if (!committed) {
        // Made and not recorded it could not be found.
        storage.requireAttached(storage.sr(move.sr().toString()));
        disks.destroyTagged(move.to(), move.tag());
      } else {
        disks.adopt(move.to());
        if (records.unused(move.from())) {
          disks.destroy(move.from(), move.guest().map(DiskMove.Running::vm).orElse(move.from()));
        }
        records.settled(move);
      }
      notes.forget(move);
    } catch (XenApiException | IOException | RuntimeException e) {
      log.warn(
          "VDI {} is left over of a disk's move: it is removed before the next move of a disk, or"
              + " when the server starts",
          left,
          e);
    }
  }

  private void endLeftovers() {
    try {
      for (DiskMove move : notes.all()) {
        if (!underWay.contains(move.to())) {
          end(move, records.committed(move));
        }
      }
    } catch (IOException e) {
      log.warn("what moves of disks have left cannot be looked through", e);
    }
  }

  /**
   * Ends what a server before this one has begun; its SRs are attached, its guests not yet looked
   * at, and no VM starts yet.
   */
  public void recover() throws IOException, InterruptedException {
    operations.forget();
    for (DiskMove move : notes.all()) {
      try {
        boolean committed = running.settle(move, records.committed(move), () -> commitAgain(move));
        log.info(
            "the move of VDI {} to {} was interrupted {} its commit",
            move.from(),
            move.to(),
            committed ? "after" : "before");
        end(move, committed);
      } catch (XenApiException e) {
        log.error(
            "the move of VDI {} to {} cannot be ended now; both disks are kept",
            move.from(),
            move.to(),
            e);
      }
    }
  }

  /** The guest is known to write to the new disk. */
  private void commitAgain(DiskMove move) throws XenApiException {
    if (!records.committed(move)) {
      Snapshot db = database.snapshot();
      Optional<Row> from = db.byUuid("VDI", move.from().toString());
      Optional<Row> to = db.byUuid("VDI", move.to().toString());
      if (from.isEmpty()) {
        // All was done but to forget the note.
        return;
      }
      if (to.isEmpty()) {
        throw new XenApiException("UUID_INVALID", "VDI", move.to().toString());
      }
      Ref<VDI> vdi = new Ref<>(from.get().ref());
      Set<Ref<VM>> vms = new LinkedHashSet<>();
      for (Ref<VBD> vbd : db.get(vdi, VDI.VBDS)) {
        vms.add(db.get(vbd, VBD.VM));
      }
      records.commit(vdi, new Ref<>(to.get().ref()), vms);
    }
  }
}
