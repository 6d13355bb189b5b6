package io.xenferry.migration.flow;

import io.xenferry.block.Range;
import io.xenferry.migration.ledger.JournalEntry;
import io.xenferry.migration.peer.Holdings;
import io.xenferry.migration.peer.PeerAnswer;
import io.xenferry.migration.peer.PeerMessage;
import io.xenferry.migration.ports.DestinationPorts.ExportSpec;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.preflight.Survey;
import io.xenferry.migration.state.MigrationException;
import io.xenferry.migration.state.Plan;
import io.xenferry.migration.state.State;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;

/**
 * RECEIVING: creates and exports everything, each thing journaled before it exists; receives blocks
 * and memory; then closes the exports for good and does whatever else can fail, up to READY. Any
 * failure, or silence beyond the resume window, ends in ABORTED.
 *
 * <p>A server that is started anew goes on while the exports are OPEN: that they are journaled says
 * that all they need was made. They are there again under the same names and accounts; a process
 * that was receiving memory has lost its stream with the server before, and is ended. What was
 * still being made, or is CLOSED already, ends in ABORTED.
 */
final class Receiving extends DestinationStage {
  /** A look costs a question to the guest's process, about a millisecond. */
  private static final Duration LOOK = Duration.ofMillis(5);

  /** Questions of the source about what disks hold that are worked on at once; more are refused. */
  private static final int MOST_HASHING = 64;

  private final ArrivingDisks disks;
  private final List<CompletableFuture<PeerAnswer>> guestWaiters = new ArrayList<>();

  private boolean exported;
  private int hashing;
  private boolean guestStarting;

  /** The process is being ended while it starts: the source's server that asked for it is gone. */
  private boolean overtaken;

  private boolean guestJournaled;
  private boolean sealing;
  private boolean sealed;
  private boolean preparing;
  private Optional<MigrationException> failure = Optional.empty();

  /** The source's server that the exports were opened anew for; empty for the first. */
  private Optional<UUID> server = Optional.empty();

  Receiving(DestinationMigration migration) {
    super(migration, State.RECEIVING);
    disks = new ArrivingDisks(migration);
  }

  @Override
  void enter(boolean recovered) {
    watchSilence();
    if (recovered) {
      goOn();
      return;
    }
    Plan plan = migration.plan();
    String metadata = migration.row().metadata();
    sequence(
        List.of(
            new Effect(
                "checking space", () -> ports().storage().check(plan).thenAccept(Survey::refuse)),
            new Effect(
                "checking the VM's metadata",
                () ->
                    ports()
                        .metadata()
                        .admit(migration.id(), plan, metadata)
                        .thenAccept(Survey::refuse))),
        this::create,
        failure -> failed("refused before anything was created", failure));
  }

  private void create() {
    Plan plan = migration.plan();
    List<JournalEntry> intents = new ArrayList<>();
    List<Effect> effects = new ArrayList<>();
    for (Plan.Disk disk : plan.disks()) {
      UUID vdi = host().random().uuid();
      disks.add(vdi);
      intents.add(migration.intent(JournalEntry.Kind.VDI, vdi.toString(), disk.sr()));
      effects.add(disks.creating(disk, vdi));
    }
    intents.add(migration.intent(JournalEntry.Kind.VM, vm().toString(), ""));
    effects.add(
        new Effect(
            "importing the VM's metadata",
            () ->
                ports()
                    .metadata()
                    .importHidden(migration.id(), plan, migration.row().metadata(), disks.vdis())));
    host().ledger().intend(intents);
    sequence(
        effects, this::export, failure -> failed("could not create what the VM needs", failure));
  }

  /**
   * Journaled only now: an export that is OPEN says to a server after this one that all is made.
   */
  private void export() {
    host().ledger().intend(disks.intents());
    sequence(
        disks.exporting(ports().storage()::export),
        this::exported,
        failure -> failed("could not export the disks", failure));
  }

  private void exported() {
    exported = true;
    migration.phase("receiving");
    answerAll(answer());
  }

  /** After a restart: everything is there, or comes back as it was. */
  private void goOn() {
    List<JournalEntry> journal = host().ledger().journal(migration.id());
    if (!migration.mayGoOn() || !disks.addOpen(journal)) {
      migration.abort(
          "the destination's server " + migration.interruption() + " before it was ready");
      return;
    }
    guestJournaled = journal.stream().anyMatch(entry -> entry.kind() == JournalEntry.Kind.GUEST);
    exportAgain(disks.lookingAgain(), ports().storage()::export);
  }

  /** Until it is done the source is asked to wait. */
  private void exportAgain(List<Effect> before, ArrivingDisks.Exporting how) {
    exported = false;
    overtaken = guestStarting;
    persist(
        () -> {
          List<Effect> effects = new ArrayList<>(before);
          if (guestJournaled) {
            effects.add(
                new Effect(
                    "ending the process whose memory stream has broken",
                    () -> ports().guests().giveUp(vm())));
          }
          effects.addAll(disks.exporting(how));
          return effects;
        },
        this::exported);
  }

  /** Once for each server of the source, however often it asks. */
  private CompletableFuture<PeerAnswer> reopen(PeerMessage.Reopen reopen) {
    if (sealing) {
      return now(migration.refusal("the exports are closed"));
    }
    Optional<UUID> asking = Optional.of(reopen.server());
    if (exported && server.equals(asking)) {
      return now(answer());
    }
    if (!exported && !server.equals(asking)) {
      return now(notYet());
    }
    CompletableFuture<PeerAnswer> waiter = later();
    if (exported) {
      server = asking;
      exportAgain(List.of(), ports().storage()::exportAnew);
    }
    return waiter;
  }

  private void failed(String what, Throwable cause) {
    String sentence = what + ": " + Effects.words(cause);
    if (cause instanceof MigrationException named) {
      failure = Optional.of(named);
    }
    migration.abort(sentence);
  }

  private void watchSilence() {
    after(
        host().deadlines().heartbeat(),
        () -> {
          Duration silence = migration.watchSource();
          if (silence.compareTo(host().deadlines().resumeWindow()) >= 0) {
            migration.abort("the source did not answer for " + silence.toSeconds() + " s");
          } else {
            watchSilence();
          }
        });
  }

  @Override
  CompletableFuture<PeerAnswer> on(PeerMessage message) {
    return switch (message) {
      case PeerMessage.Open open -> opened(open);
      case PeerMessage.StartGuest start -> startGuest();
      case PeerMessage.CloseExports close -> closeExports(close);
      case PeerMessage.Room room -> room();
      case PeerMessage.Reopen reopen -> reopen(reopen);
      case PeerMessage.Digests digests -> digests(digests);
      case PeerMessage.Prepare prepare -> prepare();
      case PeerMessage.Abort abort -> abort(abort);
      default -> super.on(message);
    };
  }

  /** A first or doubled Open of the same source; whoever has another key comes too late. */
  private CompletableFuture<PeerAnswer> opened(PeerMessage.Open open) {
    if (!open.key().equals(migration.row().key())) {
      return now(migration.refusal("this token has been used"));
    }
    return exported ? now(answer()) : later();
  }

  /**
   * What an Open and a Reopen are answered; a source that knows nothing of bases has asked for
   * none.
   */
  private PeerAnswer answer() {
    PeerAnswer answer = migration.answer().withTargets(disks.targets());
    List<UUID> based = disks.based();
    return based.isEmpty() ? answer : answer.with(Holdings.based(based));
  }

  /** Asked a second time when the memory comes: the process may have died while it waited. */
  private CompletableFuture<PeerAnswer> startGuest() {
    if (!migration.plan().live()) {
      return now(migration.refusal("no guest to be started"));
    }
    if (!exported) {
      return now(notYet());
    }
    CompletableFuture<PeerAnswer> waiter = new CompletableFuture<>();
    guestWaiters.add(waiter);
    if (!guestStarting) {
      guestStarting = true;
      if (!guestJournaled) {
        guestJournaled = true;
        host().ledger().intend(migration.intent(JournalEntry.Kind.GUEST, vm().toString(), ""));
      }
      step(
          "starting the process that receives the memory",
          () -> ports().guests().startIncoming(migration.id(), migration.plan(), disks.vdis()),
          done -> {
            guestStarting = false;
            overtaken = false;
            answerGuestWaiters(migration.answer());
          },
          failure -> {
            guestStarting = false;
            if (overtaken) {
              overtaken = false;
              answerGuestWaiters(notYet());
            } else {
              failed("the receiving process did not start", failure);
            }
          });
    }
    return waiter;
  }

  /** As of a server that is still booting: asked again. */
  private PeerAnswer notYet() {
    String sentence = "the disks are not exported yet";
    return migration.answer().refusing(Asking.STILL_BOOTING, List.of(sentence), sentence);
  }

  private void answerGuestWaiters(PeerAnswer answer) {
    List<CompletableFuture<PeerAnswer>> all = List.copyOf(guestWaiters);
    guestWaiters.clear();
    all.forEach(waiter -> waiter.complete(answer));
  }

  /** Changes nothing; a look that fails says nothing about room. */
  private CompletableFuture<PeerAnswer> room() {
    CompletableFuture<PeerAnswer> waiter = later();
    hear(
        "is there room?",
        () -> ports().storage().checkRoom(disks.vdis()),
        done -> waiter.complete(migration.answer()),
        failure ->
            waiter.complete(
                failure instanceof MigrationException named
                    ? migration
                        .answer()
                        .refusing(named.code(), named.params(), String.valueOf(named.getMessage()))
                    : migration.answer()));
    return waiter;
  }

  /** Reads and hashes; who asks knows what is being written meanwhile. */
  private CompletableFuture<PeerAnswer> digests(PeerMessage.Digests asked) {
    if (!exported) {
      return now(notYet());
    }
    if (sealing) {
      return now(migration.refusal("the disks are no longer being filled"));
    }
    Optional<UUID> vdi = disks.whole(asked.vdi(), asked.offset() + asked.length());
    if (vdi.isEmpty()) {
      return now(migration.refusal("no such disk, or none so large"));
    }
    if (hashing >= MOST_HASHING) {
      return now(migration.refusal("enough is being hashed already"));
    }
    hashing++;
    CompletableFuture<PeerAnswer> waiter = later();
    hear(
        "what does a disk hold?",
        () ->
            ports()
                .storage()
                .digests(
                    vdi.get(),
                    new Range(asked.offset(), asked.length()),
                    asked.blockSize(),
                    asked.digest()),
        told -> {
          hashing--;
          answerOne(waiter, migration.answer().with(Holdings.of(told)));
        },
        failure -> {
          hashing--;
          answerOne(waiter, migration.refusal("the disk cannot be read: " + failure.getMessage()));
        });
    return waiter;
  }

  private CompletableFuture<PeerAnswer> closeExports(PeerMessage.CloseExports close) {
    if (!exported) {
      return now(notYet());
    }
    if (sealed) {
      return now(migration.answer());
    }
    for (Plan.Disk disk : migration.plan().disks()) {
      if (!close.disks().contains(disk.vdi())) {
        return now(migration.refusal("no word about disk " + disk.device()));
      }
    }
    CompletableFuture<PeerAnswer> waiter = later();
    if (!sealing) {
      sealing = true;
      seal();
    }
    return waiter;
  }

  /** CLOSED is durable before any export is closed; all disks at once, since the guest waits. */
  private void seal() {
    host().ledger().closeExports(migration.id());
    step(
        "closing the exports and flushing the disks",
        () -> {
          List<CompletableFuture<Void>> closing = new ArrayList<>();
          List<ExportSpec> exports = disks.exports();
          for (ExportSpec export : exports) {
            closing.add(
                ports()
                    .storage()
                    .closeExport(migration.id(), export)
                    .thenCompose(closed -> ports().storage().seal(export.vdi())));
          }
          return CompletableFuture.allOf(closing.toArray(CompletableFuture[]::new));
        },
        done -> {
          sealed = true;
          answerAll(migration.answer());
        },
        failure -> failed("the disks could not be closed", failure));
  }

  private CompletableFuture<PeerAnswer> prepare() {
    if (!sealed) {
      return now(migration.refusal("the exports are not closed"));
    }
    CompletableFuture<PeerAnswer> waiter = later();
    if (!preparing) {
      preparing = true;
      if (migration.plan().live()) {
        awaitMemory();
      } else if (migration.plan().warm()) {
        makeMachine();
      } else {
        migration.move(new Ready(migration));
      }
    }
    return waiter;
  }

  /** All that can fail of a boot but the boot itself; it runs nothing before the commit. */
  private void makeMachine() {
    host().ledger().intend(migration.intent(JournalEntry.Kind.GUEST, vm().toString(), ""));
    step(
        "making the machine that the guest will boot on",
        () -> ports().guests().makeMachine(migration.id(), migration.plan(), disks.vdis()),
        done -> migration.move(new Ready(migration)),
        failure -> failed("the machine could not be made", failure));
  }

  /** Looked at often: the guest stands still meanwhile. */
  private void awaitMemory() {
    step(
        "waiting for the end of the memory stream",
        () -> ports().guests().observe(vm()),
        seen -> {
          if (seen == GuestState.RECEIVED) {
            activate();
          } else if (seen == GuestState.INCOMING) {
            after(LOOK, this::awaitMemory);
          } else {
            migration.abort("the receiving guest is " + seen);
          }
        },
        failure -> failed("the receiving guest cannot be seen", failure));
  }

  private void activate() {
    step(
        "activating the guest's disks",
        () -> ports().guests().activate(vm()),
        done -> migration.move(new Ready(migration)),
        failure -> failed("the guest's disks could not be activated", failure));
  }

  private CompletableFuture<PeerAnswer> abort(PeerMessage.Abort abort) {
    if (!thisIncarnation(abort.incarnation())) {
      return now(migration.refusal("this is another incarnation"));
    }
    migration.abort("the source took the VM back");
    return now(migration.answer());
  }

  @Override
  void leave() {
    if (migration.row().state() == State.ABORTED) {
      PeerAnswer answer = aborted();
      answerAll(answer);
      guestWaiters.forEach(waiter -> waiter.complete(answer));
      guestWaiters.clear();
    } else {
      super.leave();
      answerGuestWaiters(migration.answer());
    }
  }

  /** What failed has a name of its own where the client can do something about it: SR_FULL. */
  private PeerAnswer aborted() {
    String sentence = migration.row().outcome().orElse("aborted");
    return failure
        .map(named -> migration.answer().refusing(named.code(), named.params(), sentence))
        .orElseGet(() -> migration.refusal(sentence));
  }

  @Override
  void cancel() {
    migration.abort("cancelled at the destination");
  }
}
