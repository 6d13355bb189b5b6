package io.xenferry.migration.gate;

import io.xenferry.migration.ledger.Ledger;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.MigrationStatus;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import io.xenferry.model.XenApiException;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.function.BiFunction;

/**
 * The one gate. Every start, resume, unpause and reset of a VM, every power-on after a host reboot,
 * and every destroy of a disk or record of one passes it, whoever asks, and so does every change of
 * its devices, without which a disk could be taken from a VM in doubt first, and destroyed then;
 * the answer comes from the ledger.
 *
 * <p>An answer is a {@link Permit}, held until the effect is over: a migration of the VM does not
 * begin meanwhile. That closes the race between a check and its effect: {@link #enter} registers
 * the permit first and reads the ledger then, {@link #claim} registers the claim first and looks
 * for permits then. Thread-safe; nothing waits here.
 */
public final class Gate {
  private final Ledger ledger;
  private final String boot;
  private final Object lock = new Object();
  private final Map<UUID, Integer> permits = new HashMap<>();
  private final Map<UUID, String> claims = new HashMap<>();
  private volatile BiFunction<MigrationId, Role, Optional<MigrationStatus>> explanations =
      (migration, role) -> Optional.empty();

  /**
   * @param boot names this boot of the host, for example {@code /proc/sys/kernel/random/boot_id}
   */
  public Gate(Ledger ledger, String boot) {
    this.ledger = ledger;
    this.boot = boot;
  }

  /** Where sentences about what is asked of whom come from. */
  public void explainWith(BiFunction<MigrationId, Role, Optional<MigrationStatus>> source) {
    explanations = source;
  }

  /** Held while the permitted effect happens. */
  public interface Permit extends AutoCloseable {
    @Override
    void close();
  }

  /**
   * A client asks.
   *
   * @throws XenApiException OTHER_OPERATION_IN_PROGRESS while a migration is under way,
   *     OPERATION_NOT_ALLOWED with a sentence when the VM is not, or not provably, this host's
   */
  public Permit enter(UUID vm, Operation operation) throws XenApiException {
    synchronized (lock) {
      String claimed = claims.get(vm);
      if (claimed != null) {
        throw busy(vm, claimed);
      }
      permits.merge(vm, 1, Integer::sum);
    }
    try {
      judge(vm, operation);
    } catch (XenApiException | RuntimeException e) {
      release(vm);
      throw e;
    }
    return permit(vm);
  }

  /** Whether a client's operation that has passed is under way: {@link #claim} would be refused. */
  public boolean isEntered(UUID vm) {
    synchronized (lock) {
      return permits.containsKey(vm);
    }
  }

  /** Whether a client would be refused by what the ledger says now. Permits nothing. */
  public boolean refuses(UUID vm, Operation operation) {
    try {
      judge(vm, operation);
      return false;
    } catch (XenApiException e) {
      return true;
    }
  }

  /**
   * The migration itself asks, for its own guest: the source may resume only once OWNED is durable,
   * the destination only once STARTING is, and neither destroys a disk before its outcome allows.
   */
  public Permit enterFor(MigrationId migration, Role role, Operation operation)
      throws XenApiException {
    LedgerRow row =
        ledger
            .find(migration, role)
            .orElseThrow(() -> notAllowed("migration " + migration + " is unknown here"));
    boolean allowed =
        switch (operation) {
          case START, RESUME, UNPAUSE ->
              row.state() == State.OWNED || row.state() == State.STARTING;
          case RESET, CHANGE_DEVICE, PAUSE -> false;
          case DESTROY_DISK, DESTROY_VM, SHUTDOWN ->
              !row.forced()
                  && (row.state() == State.GIVEN
                      || row.state() == State.ABORTED
                      || row.state() == State.RETURNED);
        };
    if (!allowed) {
      throw notAllowed(operation + " is not for a migration that is " + row.state());
    }
    return () -> {};
  }

  /**
   * A migration of the VM is to begin: refuses while a permit is held; holds off new ones until
   * {@link Permit#close}, by when the migration's row is in the ledger.
   */
  public Permit claim(UUID vm) throws XenApiException {
    return claim(vm, "a migration of it is just beginning");
  }

  /**
   * The same for what a migration under way does to its guest, while clients' operations may pass
   * otherwise.
   *
   * @param why clients are refused, for people
   */
  public Permit claim(UUID vm, String why) throws XenApiException {
    synchronized (lock) {
      if (permits.containsKey(vm) || claims.putIfAbsent(vm, why) != null) {
        throw busy(vm, "another operation on it is in progress");
      }
    }
    return () -> {
      synchronized (lock) {
        claims.remove(vm);
      }
    };
  }

  private Permit permit(UUID vm) {
    return new Permit() {
      private boolean closed;

      @Override
      public void close() {
        synchronized (lock) {
          if (!closed) {
            closed = true;
            release(vm);
          }
        }
      }
    };
  }

  private void release(UUID vm) {
    synchronized (lock) {
      permits.computeIfPresent(vm, (key, count) -> count == 1 ? null : count - 1);
    }
  }

  private void judge(UUID vm, Operation operation) throws XenApiException {
    boolean runs = runs(operation);
    for (LedgerRow row : ledger.unended(vm)) {
      judge(row, operation, runs);
    }
    if (runs && ledger.restored()) {
      throw notAllowed(
          "The ledger of this host was lost or put back from a copy, so it is not known which VMs"
              + " have moved away since. Nothing starts until an operator accepts the ledger"
              + " (accept-restored-ledger), stating that no VM of this host runs elsewhere.");
    }
  }

  private void judge(LedgerRow row, Operation operation, boolean runs) throws XenApiException {
    switch (row.state()) {
      case SENDING -> {
        if (operation != Operation.RESET && operation != Operation.SHUTDOWN) {
          throw busy(row.vm(), sentence(row, ""));
        }
      }
      case SWITCHING, RECEIVING, READY -> throw busy(row.vm(), sentence(row, ""));
      case COMMITTING ->
          throw notAllowed(
              sentence(
                  row,
                  "Whether the VM runs at the destination is not known here, so it must not run"
                      + " here. force-resume runs it here, for an operator who states that the"
                      + " destination is powered off."));
      case COMMITTED, STARTING ->
          throw notAllowed(sentence(row, "The VM is about to run here by itself."));
      case GIVEN ->
          throw notAllowed(
              sentence(row, "The VM is at the destination; what is left here is being removed."));
      case ABORTED, RETURNED ->
          throw notAllowed(
              sentence(row, "The VM is at the source; what is left here is being removed."));
      case OWNED, RUNNING -> {
        // Its migration would take a client's pause for its own, and resume it.
        if (operation == Operation.PAUSE && row.state() == State.OWNED && !row.letGo()) {
          throw busy(row.vm(), sentence(row, "The guest is only just going on here."));
        }
        // Also when it was forced: whoever vouched for the other host did so at that time, and the
        // other host's operator may have done the same since.
        if (runs && !row.boot().equals(boot)) {
          throw notAllowed(
              sentence(
                  row,
                  "This host was restarted, or its ledger put back, meanwhile, so the VM starts"
                      + " only once the other host has answered that it does not run there. "
                      + (row.role() == Role.SOURCE ? "force-resume" : "force-commit")
                      + " starts it, for an operator who states that the other host is powered"
                      + " off."));
        }
      }
    }
  }

  private static boolean runs(Operation operation) {
    return switch (operation) {
      case START, RESUME, UNPAUSE, RESET -> true;
      case DESTROY_DISK, CHANGE_DEVICE, PAUSE, SHUTDOWN, DESTROY_VM -> false;
    };
  }

  private String sentence(LedgerRow row, String advice) {
    StringBuilder text =
        new StringBuilder("Migration ")
            .append(row.migration())
            .append(row.role() == Role.SOURCE ? " to " : " from ")
            .append(row.peerUrl())
            .append(" is ")
            .append(row.state())
            .append(row.forced() ? " (forced)." : ".");
    explanations
        .apply(row.migration(), row.role())
        .flatMap(MigrationStatus::waiting)
        .ifPresent(waiting ->
            text.append(" Asking ")
                .append(waiting.from())
                .append(" since ")
                .append(waiting.since())
                .append(": ")
                .append(waiting.what())
                .append("; last tried ")
                .append(waiting.lastTried())
                .append(" (attempt ")
                .append(waiting.attempts())
                .append(waiting.lastAnswer().map(answer -> ", " + answer).orElse(""))
                .append(")."));
    return advice.isEmpty() ? text.toString() : text.append(' ').append(advice).toString();
  }

  private static XenApiException busy(UUID vm, String sentence) {
    return new XenApiException(
        "OTHER_OPERATION_IN_PROGRESS", List.of("VM", vm.toString(), "migrate_send", sentence));
  }

  private static XenApiException notAllowed(String sentence) {
    return new XenApiException("OPERATION_NOT_ALLOWED", List.of(sentence));
  }
}
