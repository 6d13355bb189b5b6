package io.xenferry.simulation;

import io.xenferry.migration.json.StrictJson;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Plan;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import io.xenferry.migration.state.WarmMove;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * What a simulated run did, in the words of the model {@code ownership.pml}: for each migration
 * what became durable on either side, when its guest was let run at the destination, and what
 * befell the hosts meanwhile, in one order.
 */
final class ModelTraces {

  /** Something that happened, and the actions of the model that it may have been. */
  enum Event {
    SENDING("s_begin"),
    SWITCHING("s_switch"),
    COMMITTING("s_committing"),
    OWNED("s_give_up", "s_returned"),
    GIVEN("s_given"),
    SOURCE_CLEANED("s_resume", "s_clean"),
    SOURCE_SETTLED("s_settled"),
    RECEIVING("d_open"),
    CLOSED("d_close"),
    READY("d_ready"),
    COMMITTED("d_commit"),
    STARTING("d_starting"),
    RUNS("d_run"),
    RUNNING("d_running"),
    ABORTED("d_abort_self", "d_abort"),
    RETURNED("d_return"),
    DESTINATION_CLEANED("d_cleaned", "d_undo_disk"),
    DESTINATION_SETTLED("d_acknowledged"),
    SOURCE_DIES("f_server_dies"),
    DESTINATION_DIES,
    SOURCE_WITHOUT_POWER("f_power_fails"),
    DESTINATION_WITHOUT_POWER,
    SOURCE_ON_AGAIN("f_power_returns"),
    DESTINATION_ON_AGAIN,
    GUEST_DIES_AT_SOURCE("f_guest_dies"),
    GUEST_DIES_AT_DESTINATION;

    /** None for what is the action before it, at the other host. */
    final List<String> actions;

    Event(String... actions) {
      this.actions = List.of(actions);
    }

    /** Of the traces' file; 0 is the end of one. */
    int code() {
      return ordinal() + 1;
    }

    static Event of(State state) {
      return switch (state) {
        case OWNED -> OWNED;
        case SENDING -> SENDING;
        case SWITCHING -> SWITCHING;
        case COMMITTING -> COMMITTING;
        case GIVEN -> GIVEN;
        case RECEIVING -> RECEIVING;
        case READY -> READY;
        case COMMITTED -> COMMITTED;
        case STARTING -> STARTING;
        case RUNNING -> RUNNING;
        case ABORTED -> ABORTED;
        case RETURNED -> RETURNED;
      };
    }

    /** The same at the destination, for an event of the source's host. */
    Event at(boolean destination) {
      return destination ? values()[ordinal() + 1] : this;
    }
  }

  /**
   * One migration.
   *
   * @param origin for messages: the seed, and which migration of it
   * @param halted whether the VM does not run while it moves
   */
  record Trace(String origin, boolean halted, List<Event> events) {
    Trace {
      events = List.copyOf(events);
    }
  }

  /** One that is under way, or over. */
  private static final class Migration {
    final SimHost source;
    final boolean halted;
    final boolean warm;
    final List<Event> events = new ArrayList<>();
    final Map<Role, LedgerRow> rows = new LinkedHashMap<>();

    Migration(SimHost source, boolean halted, boolean warm) {
      this.source = source;
      this.halted = halted;
      this.warm = warm;
    }

    /** A ledger that cannot be written says so each time that it is tried. */
    void died(Event event) {
      if (events.getLast() != event) {
        events.add(event);
      }
    }

    /**
     * The destination makes its guest ready, or looks at it, and then records READY or STARTING,
     * which the model has as one; and the source looks at its own before COMMITTING. A guest that
     * dies in between is found dead by the next look, as one that dies afterwards. A guest that
     * shuts down by itself just when a warm move asks it to is one that heeds.
     */
    void enters(State state) {
      if (warm && state == State.SWITCHING && events.getLast() == Event.GUEST_DIES_AT_SOURCE) {
        events.removeLast();
      }
      int died =
          switch (state) {
            case READY, STARTING ->
                events.getLast() == Event.GUEST_DIES_AT_DESTINATION ? events.size() - 1 : -1;
            case COMMITTING -> {
              int last = events.lastIndexOf(Event.GUEST_DIES_AT_SOURCE);
              yield last > events.indexOf(Event.SWITCHING) ? last : -1;
            }
            default -> -1;
          };
      events.add(Event.of(state));
      if (died >= 0) {
        events.add(events.remove(died));
      }
    }

    boolean over() {
      LedgerRow there = rows.get(Role.DESTINATION);
      LedgerRow here = rows.get(Role.SOURCE);
      return here != null && here.ended() && (there == null || there.ended());
    }
  }

  private final World world;
  private final String origin;
  private final Map<MigrationId, Migration> migrations = new LinkedHashMap<>();
  private final List<SimHost> off = new ArrayList<>();

  private ModelTraces(World world, String origin) {
    this.world = world;
    this.origin = origin;
  }

  /** Runs a seed, and tells what its migrations did; those of a run that fails up to there. */
  static List<Trace> of(long seed, Variant variant) {
    if (ReplacedLedger.isIn(seed)) {
      return List.of(); // that takes the model other bounds
    }
    ModelTraces[] watching = new ModelTraces[1];
    Simulation.Result unused =
        Simulation.run(
            seed, variant, null, world -> watching[0] = watching(world, variant + " seed " + seed));
    // Of two VMs' moves nobody says whose exports are closed.
    return watching[0].world.vms.size() > 1 ? List.of() : watching[0].traces();
  }

  /**
   * Tells what happens in a world from now on.
   *
   * @param origin for messages
   */
  static ModelTraces watching(World world, String origin) {
    ModelTraces watching = new ModelTraces(world, origin);
    world.onDurable = world.onDurable.andThen(watching::durable);
    world.onHappening = watching::happened;
    return watching;
  }

  /** Of the migrations up to now. */
  List<Trace> traces() {
    List<Trace> traces = new ArrayList<>();
    for (Migration migration : migrations.values()) {
      traces.add(
          new Trace(
              origin + ", migration " + (traces.size() + 1), migration.halted, migration.events));
    }
    return traces;
  }

  private void durable(SimHost host, String what) {
    for (LedgerRow row : host.ledgerDisk.rows()) {
      Migration migration = migrations.get(row.migration());
      if (migration == null && row.role() == Role.SOURCE && row.version() == 1) {
        begin(host, row);
      } else if (migration != null) {
        LedgerRow before = migration.rows.put(row.role(), row);
        changed(migration, before, row);
      }
    }
    if (what.equals("close exports")) {
      // The others are over, or are being undone.
      migrations.values().stream()
          .filter(migration -> migration.source != host && !migration.over())
          .filter(migration -> in(migration, Role.DESTINATION, State.RECEIVING))
          .forEach(migration -> migration.events.add(Event.CLOSED));
    }
  }

  private static boolean in(Migration migration, Role role, State state) {
    LedgerRow row = migration.rows.get(role);
    return row != null && row.state() == state;
  }

  private void begin(SimHost host, LedgerRow row) {
    Plan plan = StrictJson.read(row.plan(), Plan.class);
    boolean halted = !plan.running();
    SimGuest guest = host.guests.get(world.vm);
    boolean asPlanned = halted ? guest == null : guest != null && guest.state == GuestState.RUNNING;
    if (!asPlanned) {
      return; // the model has no such beginning
    }
    Migration migration = new Migration(host, halted, WarmMove.of(plan).isPresent());
    migrations.put(row.migration(), migration);
    migration.rows.put(Role.SOURCE, row);
    migration.events.add(Event.of(row.state()));
    off.forEach(dark -> migration.events.add(Event.SOURCE_WITHOUT_POWER.at(dark != host)));
  }

  private static void changed(Migration migration, LedgerRow before, LedgerRow row) {
    if (row.equals(before)) {
      return;
    }
    if (before == null || before.state() != row.state()) {
      migration.enters(row.state());
      if (before == null && row.ended()) {
        return; // a tombstone from its beginning
      }
    }
    boolean source = row.role() == Role.SOURCE;
    if (row.cleaned() && (before == null || !before.cleaned())) {
      migration.events.add(source ? Event.SOURCE_CLEANED : Event.DESTINATION_CLEANED);
    }
    if (row.settled() && (before == null || !before.settled())) {
      migration.events.add(source ? Event.SOURCE_SETTLED : Event.DESTINATION_SETTLED);
    }
  }

  private void happened(SimHost host, SimHost.Happening what) {
    switch (what) {
      case POWER_FAILS -> off.add(host);
      case SERVER_STARTS -> {
        if (!off.remove(host)) {
          return;
        }
      }
      case SERVER_DIES, LEDGER_FAILS, GUEST_DIES, GUEST_RUNS -> {}
    }
    for (Migration migration : migrations.values()) {
      if (!migration.over()) {
        boolean there = host != migration.source;
        switch (what) {
          // A row whose ledger could not be written is taken up as after a death of the server.
          case SERVER_DIES, LEDGER_FAILS -> migration.died(Event.SOURCE_DIES.at(there));
          case POWER_FAILS -> migration.events.add(Event.SOURCE_WITHOUT_POWER.at(there));
          case SERVER_STARTS -> migration.events.add(Event.SOURCE_ON_AGAIN.at(there));
          case GUEST_DIES -> migration.events.add(Event.GUEST_DIES_AT_SOURCE.at(there));
          case GUEST_RUNS -> {
            if (there && in(migration, Role.DESTINATION, State.STARTING)) {
              migration.events.add(Event.RUNS);
            }
          }
        }
      }
    }
  }
}
