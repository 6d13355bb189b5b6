package io.xenferry.migration.flow;

import io.xenferry.migration.ledger.JournalEntry;
import io.xenferry.migration.peer.PeerAnswer;
import io.xenferry.migration.peer.PeerMessage;
import io.xenferry.migration.ports.DestinationPorts.ExportSpec;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.preflight.Survey;
import io.xenferry.migration.state.DiskTarget;
import io.xenferry.migration.state.MigrationException;
import io.xenferry.migration.state.Plan;
import io.xenferry.migration.state.State;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;

/**
 * RECEIVING: creates and exports everything, each thing journaled before it exists; receives blocks
 * and memory; then closes the exports for good and does whatever else can fail, up to READY. Any
 * failure, a restart, or silence beyond the resume window ends in ABORTED.
 */
final class Receiving extends DestinationStage {
  /** A look costs a question to the guest's process, about a millisecond. */
  private static final Duration LOOK = Duration.ofMillis(5);

  private final List<ExportSpec> exports = new ArrayList<>();
  private final List<DiskTarget> targets = new ArrayList<>();
  private final List<CompletableFuture<PeerAnswer>> guestWaiters = new ArrayList<>();
  private boolean exported;
  private boolean guestStarting;
  private boolean guestJournaled;
  private boolean sealing;
  private boolean sealed;
  private boolean preparing;
  private Optional<MigrationException> failure = Optional.empty();

  Receiving(DestinationMigration migration) {
    super(migration, State.RECEIVING);
  }

  @Override
  void enter(boolean recovered) {
    if (recovered) {
      migration.abort(
          "the destination's server " + migration.interruption() + " before it was ready");
      return;
    }
    watchSilence();
    Plan plan = migration.plan();
    String metadata = migration.row().metadata();
    migration.sequence(
        this,
        List.of(
            new Effect(
                "checking space", () -> ports().storage().check(plan).thenAccept(Survey::refuse)),
            new Effect(
                "checking the VM's metadata",
                () -> ports().metadata().check(plan, metadata).thenAccept(Survey::refuse))),
        this::create,
        failure -> failed("refused before anything was created", failure));
  }

  private void create() {
    Plan plan = migration.plan();
    List<JournalEntry> intents = new ArrayList<>();
    List<Effect> effects = new ArrayList<>();
    List<UUID> vdis = new ArrayList<>();
    int index = 0;
    for (Plan.Disk disk : plan.disks()) {
      UUID vdi = host().random().uuid();
      vdis.add(vdi);
      String name = "xf-" + migration.id() + "-" + index;
      String account = "xf" + migration.id().toString().replace("-", "") + index;
      String secret =
          Base64.getUrlEncoder().withoutPadding().encodeToString(host().random().bytes(12));
      ExportSpec export = new ExportSpec(name, vdi, account, secret);
      exports.add(export);
      intents.add(entry(JournalEntry.Kind.VDI, vdi.toString(), disk.sr()));
      intents.add(entry(JournalEntry.Kind.EXPORT, name, vdi.toString()));
      intents.add(entry(JournalEntry.Kind.ACCOUNT, account, name));
      effects.add(
          new Effect(
              "creating disk " + disk.device(),
              () -> ports().storage().createVdi(migration.id(), disk, vdi)));
      index++;
    }
    intents.add(entry(JournalEntry.Kind.VM, vm().toString(), ""));
    effects.add(
        new Effect(
            "importing the VM's metadata",
            () ->
                ports()
                    .metadata()
                    .importHidden(migration.id(), plan, migration.row().metadata(), vdis)));
    for (int i = 0; i < exports.size(); i++) {
      Plan.Disk disk = plan.disks().get(i);
      ExportSpec export = exports.get(i);
      effects.add(
          new Effect(
              "exporting disk " + disk.device(),
              () ->
                  ports()
                      .storage()
                      .export(migration.id(), disk, export)
                      .thenApply(target -> {
                        targets.add(target);
                        return target;
                      })));
    }
    host().ledger().intend(intents);
    migration.sequence(
        this,
        effects,
        () -> {
          exported = true;
          migration.phase("receiving");
          answerAll(migration.answer().withTargets(ordered()));
        },
        failure -> failed("could not create what the VM needs", failure));
  }

  /** Futures may complete on any thread, and one after another: the order is the plan's. */
  private List<DiskTarget> ordered() {
    Map<UUID, DiskTarget> bySource = new HashMap<>();
    targets.forEach(target -> bySource.put(target.source(), target));
    return migration.plan().disks().stream()
        .map(disk -> bySource.get(disk.vdi()))
        .filter(target -> target != null)
        .toList();
  }

  private JournalEntry entry(JournalEntry.Kind kind, String name, String detail) {
    return new JournalEntry(migration.id(), kind, name, detail, JournalEntry.Standing.OPEN);
  }

  private void failed(String what, Throwable cause) {
    String sentence = what + ": " + Migration.words(cause);
    if (cause instanceof MigrationException named) {
      failure = Optional.of(named);
    }
    migration.abort(sentence);
  }

  private void watchSilence() {
    migration.after(
        this,
        host().deadlines().heartbeat(),
        () -> {
          if (migration.silence().compareTo(host().deadlines().resumeWindow()) >= 0) {
            migration.abort(
                "the source did not answer for " + migration.silence().toSeconds() + " s");
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
    return exported ? now(migration.answer().withTargets(ordered())) : later();
  }

  /** Asked a second time when the memory comes: the process may have died while it waited. */
  private CompletableFuture<PeerAnswer> startGuest() {
    if (!exported || !migration.plan().running()) {
      return now(migration.refusal("no guest to be started"));
    }
    CompletableFuture<PeerAnswer> waiter = new CompletableFuture<>();
    guestWaiters.add(waiter);
    if (!guestStarting) {
      guestStarting = true;
      if (!guestJournaled) {
        guestJournaled = true;
        host().ledger().intend(entry(JournalEntry.Kind.GUEST, vm().toString(), ""));
      }
      migration.step(
          this,
          "starting the process that receives the memory",
          host().deadlines().step(),
          () ->
              ports()
                  .guests()
                  .startIncoming(
                      migration.id(),
                      migration.plan(),
                      exports.stream().map(ExportSpec::vdi).toList()),
          done -> {
            guestStarting = false;
            answerGuestWaiters();
          },
          failure -> failed("the receiving process did not start", failure));
    }
    return waiter;
  }

  private void answerGuestWaiters() {
    List<CompletableFuture<PeerAnswer>> all = List.copyOf(guestWaiters);
    guestWaiters.clear();
    all.forEach(waiter -> waiter.complete(migration.answer()));
  }

  /** Changes nothing; a look that fails says nothing about room. */
  private CompletableFuture<PeerAnswer> room() {
    CompletableFuture<PeerAnswer> waiter = later();
    migration.hear(
        this,
        "is there room?",
        host().deadlines().step(),
        () -> ports().storage().checkRoom(exports.stream().map(ExportSpec::vdi).toList()),
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

  private CompletableFuture<PeerAnswer> closeExports(PeerMessage.CloseExports close) {
    if (!exported) {
      return now(migration.refusal("nothing is exported yet"));
    }
    if (sealed) {
      return now(migration.answer());
    }
    Map<UUID, String> digests = new HashMap<>();
    close.disks().forEach(disk -> digests.put(disk.vdi(), disk.digest()));
    for (Plan.Disk disk : migration.plan().disks()) {
      if (!digests.containsKey(disk.vdi())) {
        return now(migration.refusal("no word about disk " + disk.device()));
      }
    }
    CompletableFuture<PeerAnswer> waiter = later();
    if (!sealing) {
      sealing = true;
      seal(digests);
    }
    return waiter;
  }

  /** CLOSED is durable before any export is closed; all disks at once, since the guest waits. */
  private void seal(Map<UUID, String> digests) {
    host().ledger().closeExports(migration.id());
    migration.step(
        this,
        "closing the exports and flushing the disks",
        host().deadlines().step(),
        () -> {
          List<CompletableFuture<Void>> disks = new ArrayList<>();
          for (int i = 0; i < exports.size(); i++) {
            ExportSpec export = exports.get(i);
            Plan.Disk disk = migration.plan().disks().get(i);
            String digest = digests.getOrDefault(disk.vdi(), "");
            disks.add(
                ports()
                    .storage()
                    .closeExport(migration.id(), export)
                    .thenCompose(closed -> ports().storage().seal(export.vdi(), disk, digest)));
          }
          return CompletableFuture.allOf(disks.toArray(CompletableFuture[]::new));
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
      if (migration.plan().running()) {
        awaitMemory();
      } else {
        migration.move(new Ready(migration));
      }
    }
    return waiter;
  }

  /** Looked at often: the guest stands still meanwhile. */
  private void awaitMemory() {
    migration.step(
        this,
        "waiting for the end of the memory stream",
        host().deadlines().step(),
        () -> ports().guests().observe(vm()),
        seen -> {
          if (seen == GuestState.RECEIVED) {
            activate();
          } else if (seen == GuestState.INCOMING) {
            migration.after(this, LOOK, this::awaitMemory);
          } else {
            migration.abort("the receiving guest is " + seen);
          }
        },
        failure -> failed("the receiving guest cannot be seen", failure));
  }

  private void activate() {
    migration.step(
        this,
        "activating the guest's disks",
        host().deadlines().step(),
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
      answerGuestWaiters();
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
