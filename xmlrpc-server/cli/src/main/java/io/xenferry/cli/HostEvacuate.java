package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;

/**
 * {@code host-evacuate}: inside the pool by host.evacuate; with {@code remote-master} all VMs that
 * run on a host go to another server with their disks, as by vm-migrate. All are looked at before
 * the first of them begins, each beside those that go before it; the server queues them, and goes
 * on if this command is ended.
 */
final class HostEvacuate {
  private HostEvacuate() {}

  /** A VM with all that its move needs but the right to come. */
  private record Move(
      Selection.Chosen vm,
      String title,
      Value vdis,
      Value vifs,
      List<Migrations.Obstacle> obstacles) {
    boolean possible() {
      return obstacles.stream().noneMatch(Migrations.Obstacle::blocks);
    }
  }

  static void run(Run run) throws XenApiException, CliException, IOException {
    Arguments a = run.arguments();
    VmMigrate.checkOnce(run, run.command().own());
    List<Selection.Chosen> hosts = run.selection().hosts(Selection.filters(a, run.command().own()));
    if (Destination.NEEDED.stream().noneMatch(a::has)) {
      batchSize(a);
      VmCommands.each(run, hosts, "hosts", host -> insidePool(run, host));
      return;
    }
    Destination.requireNamed(a);
    a.flag(VmMigrate.DRY_RUN);
    run.environment().migrations().checkOptions(VmMigrate.options(a));
    VmCommands.each(run, hosts, "hosts", host -> elsewhere(run, host));
  }

  private static void insidePool(Run run, Selection.Chosen host)
      throws XenApiException, CliException {
    Arguments a = run.arguments();
    String network =
        a.has("network-uuid") ? run.calls().byUuid("network", a.need("network-uuid")) : Calls.NULL;
    run.calls()
        .call("host.evacuate", Value.of(host.ref()), Value.of(network), Value.of(batchSize(a)));
  }

  private static long batchSize(Arguments a) throws CliException {
    long size = Parameter.number("batch-size", a.get("batch-size", "0"));
    if (size < 0) {
      throw CliException.failed(
          "Parameter 'batch-size' takes a number of VMs, 0 for the server's own choice, not '%d'"
              .formatted(size));
    }
    return size;
  }

  private static void elsewhere(Run run, Selection.Chosen host)
      throws XenApiException, CliException, IOException {
    List<Selection.Chosen> vms =
        run.selection().vms(List.of(Map.entry("resident-on", host.uuid())), false, false);
    if (vms.isEmpty()) {
      run.printer().say("No VM runs on this host.");
      return;
    }
    Destination.visit(run, "remote-host", there -> evacuate(run, host, vms, there));
  }

  private static void evacuate(
      Run run, Selection.Chosen host, List<Selection.Chosen> vms, Destination there)
      throws XenApiException, CliException, IOException {
    List<Move> moves = new ArrayList<>();
    InterfacePlaces interfaces = new InterfacePlaces(run, there);
    CommonRoom room = there.room();
    for (Selection.Chosen vm : vms) {
      moves.add(look(run, vm, interfaces, there, room));
    }
    long stuck = moves.stream().filter(move -> !move.possible()).count();
    if (run.arguments().flag(VmMigrate.DRY_RUN)) {
      if (stuck > 0) {
        throw new CliException(CliException.Kind.SHOWN, "");
      }
      return;
    }
    if (stuck > 0 && !run.arguments().flag("force")) {
      throw CliException.failed(
          "%d of %d VMs cannot move, and nothing has begun; force=true moves the others"
              .formatted(stuck, moves.size()));
    }
    if (Calls.truth(run.calls().call("host.get_enabled", Value.of(host.ref())))) {
      run.calls().call("host.disable", Value.of(host.ref()));
      run.printer().say("The host is disabled: nothing starts here before xe host-enable.");
    }
    long failed = stuck + await(run, begin(run, moves, there));
    if (failed > 0) {
      throw CliException.failed("%d of %d VMs are still here".formatted(failed, moves.size()));
    }
  }

  private static Move look(
      Run run, Selection.Chosen vm, InterfacePlaces interfaces, Destination there, CommonRoom room)
      throws XenApiException, CliException, IOException {
    String title = "%s (%s)".formatted(Calls.field(vm.record(), "name_label"), vm.uuid());
    List<MovingDrive> drives = MovingDrive.of(run, List.of(vm));
    Value vdis = new Value.Struct(there.places(run, drives, new LinkedHashMap<>()));
    Value vifs = new Value.Struct(interfaces.of(vm.ref()));
    SequencedMap<String, String> options = options(run);
    Migrations.Move asked =
        new Migrations.Move(
            vm.ref(),
            Calls.textMap(there.token(Value.ofTexts(options))),
            Calls.textMap(vdis),
            Calls.textMap(vifs),
            options,
            Map.of());
    List<Migrations.Obstacle> obstacles =
        new ArrayList<>(run.environment().migrations().dryRun(run.calls().session(), asked));
    if (obstacles.stream().noneMatch(Migrations.Obstacle::blocks)) {
      Migrations.Needs needs = run.environment().migrations().needs(run.calls().session(), asked);
      List<Migrations.Obstacle> crowded = room.obstacles(needs);
      obstacles.addAll(crowded);
      if (crowded.stream().noneMatch(Migrations.Obstacle::blocks)) {
        room.take(needs);
      }
    }
    Move move = new Move(vm, title, vdis, vifs, obstacles);
    run.printer().say(title + (move.possible() ? ": can move" : ": cannot move"));
    MovingDrive.announceCds(run, drives, there);
    for (Migrations.Obstacle obstacle : obstacles) {
      run.printer().say("  " + DryRun.text(run, obstacle).replace("\n", "\n  "));
    }
    return move;
  }

  /**
   * Of each move: {@code force} is a word to this command, and lets nothing go that should stay.
   */
  private static SequencedMap<String, String> options(Run run) throws CliException {
    SequencedMap<String, String> options = VmMigrate.options(run.arguments());
    options.remove("force");
    return options;
  }

  /** The tasks of those that are on their way. */
  private static SequencedMap<String, Move> begin(Run run, List<Move> moves, Destination there)
      throws XenApiException, CliException, IOException {
    Value options = Value.ofTexts(options(run));
    Value nothing = Value.Struct.of(Map.of());
    SequencedMap<String, Move> tasks = new LinkedHashMap<>();
    for (Move move : moves) {
      if (move.possible()) {
        tasks.put(
            run.calls()
                .text(
                    "Async.VM.migrate_send",
                    Value.of(move.vm().ref()),
                    there.token(options),
                    Value.of(true),
                    move.vdis(),
                    move.vifs(),
                    options,
                    nothing,
                    nothing),
            move);
      }
    }
    return tasks;
  }

  /** How many have failed. */
  private static long await(Run run, SequencedMap<String, Move> tasks)
      throws XenApiException, IOException {
    long failed = 0;
    int all = tasks.size();
    String token = "";
    while (true) {
      Iterator<Map.Entry<String, Move>> left = tasks.entrySet().iterator();
      while (left.hasNext()) {
        Map.Entry<String, Move> next = left.next();
        Map<String, Value> task = run.calls().record("task", next.getKey());
        String status = Calls.field(task, "status");
        if (status.equals("pending") || status.equals("cancelling")) {
          continue;
        }
        left.remove();
        String title = next.getValue().title();
        String count = "%d of %d".formatted(all - tasks.size(), all);
        if (status.equals("success")) {
          run.printer().say("%s: moved (%s)".formatted(title, count));
        } else {
          failed++;
          XenApiException why =
              status.equals("cancelled")
                  ? new XenApiException("TASK_CANCELLED", next.getKey())
                  : Tasks.failure(task);
          run.client()
              .stderr(
                  "%s: not moved (%s): %s\n"
                      .formatted(title, count, ErrorText.lines(run.calls(), why).stripTrailing()));
        }
        run.calls().call("task.destroy", Value.of(next.getKey()));
      }
      if (tasks.isEmpty()) {
        return failed;
      }
      Value events =
          run.calls()
              .call(
                  "event.from",
                  Value.ofTexts(tasks.keySet().stream().map(task -> "task/" + task).toList()),
                  Value.of(token),
                  Value.of(Tasks.WAIT_SECONDS));
      token = Calls.field(Calls.members(events), "token");
    }
  }
}
