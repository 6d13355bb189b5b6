package io.xenferry.migration.ledger;

import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.Role;
import io.xenferry.migration.state.State;
import io.xenferry.migration.state.Steering;
import java.time.Instant;
import java.util.Optional;
import java.util.UUID;

/**
 * One row of the ledger: what this host has decided and knows about one migration.
 *
 * @param vm the VM's uuid on this host
 * @param peerUrl base URL of the other server
 * @param peerFingerprint SHA-256 of its certificate, lower-case hex; empty over plain HTTP
 * @param peerIncarnation the other ledger's incarnation: at the source the one that answers must
 *     carry
 * @param key the migration's own key for the peers' messages
 * @param token the destination's token; empty at the destination
 * @param plan the plan as JSON
 * @param metadata the VM's metadata document, opaque here; empty where not kept
 * @param outcome a sentence once there is one
 * @param forced an operator's word replaced the peer's; nothing is deleted automatically. What it
 *     allows it allows in its {@code boot} only
 * @param settled S: the destination's answer that it is gone has been seen; D: the source has
 *     acknowledged the outcome
 * @param cleaned nothing of this migration is left on this host that should not be
 * @param ended whether the row is only a tombstone
 * @param boot the boot of this host in which the peer was last heard, or an operator spoke for it;
 *     a VM with an unended row of another boot does not start. Empty since the ledger was put back:
 *     see {@link #doubtful}
 * @param steering what an operator has changed since the move began, and what the source has noted
 *     of the guest: {@link io.xenferry.migration.state.Steering#text}; empty for nothing
 * @param expiry until when a tombstone is kept: the token's expiry
 * @param version counts the changes of this row
 */
public record LedgerRow(
    MigrationId migration,
    Role role,
    UUID vm,
    State state,
    String peerUrl,
    String peerFingerprint,
    UUID peerIncarnation,
    String key,
    String token,
    String plan,
    String metadata,
    Optional<String> outcome,
    boolean forced,
    boolean settled,
    boolean cleaned,
    boolean ended,
    String boot,
    String steering,
    Instant created,
    Instant updated,
    Instant expiry,
    long version) {

  /** As it begins, which no operator has changed yet. */
  public LedgerRow(
      MigrationId migration,
      Role role,
      UUID vm,
      State state,
      String peerUrl,
      String peerFingerprint,
      UUID peerIncarnation,
      String key,
      String token,
      String plan,
      String metadata,
      Optional<String> outcome,
      boolean forced,
      boolean settled,
      boolean cleaned,
      boolean ended,
      String boot,
      Instant created,
      Instant updated,
      Instant expiry,
      long version) {
    this(
        migration,
        role,
        vm,
        state,
        peerUrl,
        peerFingerprint,
        peerIncarnation,
        key,
        token,
        plan,
        metadata,
        outcome,
        forced,
        settled,
        cleaned,
        ended,
        boot,
        "",
        created,
        updated,
        expiry,
        version);
  }

  public LedgerRow {
    if (state.role() != role) {
      throw new IllegalArgumentException(state + " is not a state of the " + role);
    }
    if (ended && !state.outcome()) {
      throw new IllegalArgumentException("a row in " + state + " cannot end");
    }
  }

  public LedgerRow withState(State next) {
    return with(next, outcome, forced, settled, cleaned, boot, steering);
  }

  public LedgerRow withOutcome(String sentence) {
    return with(state, Optional.of(sentence), forced, settled, cleaned, boot, steering);
  }

  public LedgerRow withForced() {
    return with(state, outcome, true, settled, cleaned, boot, steering);
  }

  public LedgerRow withSteering(String changed) {
    return with(state, outcome, forced, settled, cleaned, boot, changed);
  }

  /** The row ends by itself once it is an outcome, settled and cleaned. */
  public LedgerRow withSettled() {
    return with(state, outcome, forced, true, cleaned, boot, steering).endingWhenDone();
  }

  /** The row ends by itself once it is an outcome, settled and cleaned. */
  public LedgerRow withCleaned() {
    return with(state, outcome, forced, settled, true, boot, steering).endingWhenDone();
  }

  /**
   * Whether the row comes from a ledger that was put back from a copy, and the peer has not been
   * heard since: more may have happened than it says.
   */
  public boolean doubtful() {
    return boot.isEmpty();
  }

  /**
   * Whether the guest of a move that has come to nothing goes on for certain, so that it is its
   * source's, and clients', as that of any other VM; but for its end, which may still be the
   * move's.
   */
  public boolean letGo() {
    return state == State.OWNED
        && (cleaned || (!steering.isEmpty() && Steering.parse(steering).letGo()));
  }

  public LedgerRow withBoot(String current) {
    return with(state, outcome, forced, settled, cleaned, current, steering);
  }

  private LedgerRow with(
      State next,
      Optional<String> why,
      boolean force,
      boolean settle,
      boolean clean,
      String now,
      String steered) {
    return new LedgerRow(
        migration,
        role,
        vm,
        next,
        peerUrl,
        peerFingerprint,
        peerIncarnation,
        key,
        token,
        plan,
        metadata,
        why,
        force,
        settle,
        clean,
        ended,
        now,
        steered,
        created,
        updated,
        expiry,
        version);
  }

  private LedgerRow endingWhenDone() {
    return written(state.outcome() && settled && cleaned, updated, version);
  }

  LedgerRow stamped(Instant now, long next) {
    return written(ended, now, next);
  }

  private LedgerRow written(boolean end, Instant now, long next) {
    return new LedgerRow(
        migration,
        role,
        vm,
        state,
        peerUrl,
        peerFingerprint,
        peerIncarnation,
        key,
        token,
        plan,
        metadata,
        outcome,
        forced,
        settled,
        cleaned,
        end,
        boot,
        steering,
        created,
        now,
        expiry,
        next);
  }

  /** Without key and token. */
  @Override
  public String toString() {
    return role
        + " "
        + migration
        + " vm="
        + vm
        + " "
        + state
        + (forced ? " forced" : "")
        + (settled ? " settled" : "")
        + (cleaned ? " cleaned" : "")
        + (ended ? " ended" : "")
        + " v"
        + version;
  }
}
