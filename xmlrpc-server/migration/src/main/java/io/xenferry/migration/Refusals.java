package io.xenferry.migration;

import io.xenferry.migration.ledger.Ledger;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.peer.PeerAnswer;
import io.xenferry.migration.peer.Token;
import io.xenferry.migration.state.MigrationException;
import java.time.Instant;
import java.util.List;
import java.util.UUID;
import org.jspecify.annotations.Nullable;

/** What stops a migration before it begins, on either side. */
final class Refusals {
  private Refusals() {}

  static MigrationException notAllowed(String sentence) {
    return new MigrationException("OPERATION_NOT_ALLOWED", List.of(sentence), sentence);
  }

  static MigrationException failed(UUID vm, String sentence) {
    return new MigrationException("VM_MIGRATE_FAILED", List.of(vm.toString(), sentence), sentence);
  }

  static MigrationException busy(UUID vm, String sentence, @Nullable Throwable cause) {
    List<String> params = List.of("VM", vm.toString(), "migrate_send", sentence);
    return cause == null
        ? new MigrationException("OTHER_OPERATION_IN_PROGRESS", params, sentence)
        : new MigrationException("OTHER_OPERATION_IN_PROGRESS", params, sentence, cause);
  }

  static void refuseNotTakenUp() {
    throw notAllowed("this host has not taken up its ledger yet");
  }

  /** A VM with a row that has not ended is neither sent nor received. */
  static void requireFree(Ledger ledger, UUID vm) {
    for (LedgerRow row : ledger.unended(vm)) {
      throw busy(vm, "migration " + row.migration() + " of the VM is " + row.state(), null);
    }
  }

  /** What a client passed on, read and not yet judged. */
  static Token token(MoveRequest request) {
    try {
      Token token = Token.read(request.token());
      token.address();
      return token;
    } catch (IllegalArgumentException e) {
      throw failed(request.plan().vm(), "this is not a token: " + e.getMessage());
    }
  }

  static void requireUsable(Token token, UUID vm, Instant now) {
    requireVersion(token, vm);
    requireUnexpired(token, vm, now);
  }

  static void requireVersion(Token token, UUID vm) {
    if (!token.versions().contains(PeerAnswer.VERSION)) {
      throw failed(vm, "the destination speaks versions " + token.versions());
    }
  }

  static void requireUnexpired(Token token, UUID vm, Instant now) {
    if (!token.expiry().isAfter(now)) {
      throw failed(vm, "the token has expired");
    }
  }

  static void requireOurVersion(List<Integer> versions, UUID vm) {
    if (!versions.contains(PeerAnswer.VERSION)) {
      throw failed(vm, "this host speaks version " + PeerAnswer.VERSION);
    }
  }
}
