package io.xenferry.migration.peer;

import io.xenferry.migration.json.StrictJson;
import io.xenferry.migration.preflight.Obstacle;
import io.xenferry.migration.state.DiskTarget;
import io.xenferry.migration.state.State;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;

/**
 * What a server answers, whatever the message.
 *
 * @param version of the protocol, agreed at open
 * @param incarnation of the answering ledger
 * @param state of the migration there; empty for unknown
 * @param forced whether an operator forced that state
 * @param gone nothing but a tombstone of the migration is there
 * @param targets of an {@link PeerMessage.Open} or {@link PeerMessage.Reopen}: where to write
 * @param code XenAPI code of a refusal; empty when not refused
 * @param params of the code
 * @param sentence for people; empty for none
 * @param findings of a {@link PeerMessage.Check}: everything that stands against the move
 * @param holdings what the disks hold, as far as it was asked
 */
public record PeerAnswer(
    int version,
    UUID incarnation,
    String state,
    boolean forced,
    boolean gone,
    List<DiskTarget> targets,
    String code,
    List<String> params,
    String sentence,
    Findings findings,
    Holdings holdings) {

  public static final int VERSION = 1;

  /** From which on an answer may have findings, for who says that he understands it. */
  public static final int WITH_FINDINGS = 2;

  /** All that this server speaks. */
  public static final List<Integer> VERSIONS = List.of(VERSION, WITH_FINDINGS);

  /** Members that version {@link #VERSION} does not have. */
  private static final String FINDINGS = "findings";

  /** Not before {@link #WITH_FINDINGS}, and only for who has asked about disks. */
  private static final String HOLDINGS = "holdings";

  public PeerAnswer {
    targets = List.copyOf(targets);
    params = List.copyOf(params);
    if (!state.isEmpty()) {
      State.valueOf(state);
    }
  }

  /** As it goes over the wire: no more than who asked knows, since there is no more. */
  public byte[] write() {
    if (!holdings.equals(Holdings.NONE)) {
      return StrictJson.write(this);
    }
    return StrictJson.write(
        this, findings.equals(Findings.NONE) ? Set.of(FINDINGS, HOLDINGS) : Set.of(HOLDINGS));
  }

  /**
   * @throws IllegalArgumentException for what no server answers
   */
  public static PeerAnswer read(byte[] json) {
    return StrictJson.read(
        json, PeerAnswer.class, Map.of(FINDINGS, Findings.NONE, HOLDINGS, Holdings.NONE));
  }

  public static PeerAnswer of(UUID incarnation, State state, boolean forced, boolean gone) {
    return new PeerAnswer(
        VERSION,
        incarnation,
        state.name(),
        forced,
        gone,
        List.of(),
        "",
        List.of(),
        "",
        Findings.NONE,
        Holdings.NONE);
  }

  public static PeerAnswer unknown(UUID incarnation) {
    return new PeerAnswer(
        VERSION,
        incarnation,
        "",
        false,
        true,
        List.of(),
        "",
        List.of(),
        "",
        Findings.NONE,
        Holdings.NONE);
  }

  public PeerAnswer withTargets(List<DiskTarget> exports) {
    return new PeerAnswer(
        version,
        incarnation,
        state,
        forced,
        gone,
        exports,
        code,
        params,
        sentence,
        findings,
        holdings);
  }

  public PeerAnswer refusing(String errorCode, List<String> errorParams, String words) {
    return new PeerAnswer(
        version,
        incarnation,
        state,
        forced,
        gone,
        List.of(),
        errorCode,
        errorParams,
        words,
        findings,
        Holdings.NONE);
  }

  /**
   * The same with everything that stands against a move.
   *
   * @param clock what this host's clock shows, milliseconds since 1970
   */
  public PeerAnswer with(long clock, List<Obstacle> found) {
    return new PeerAnswer(
        version,
        incarnation,
        state,
        forced,
        gone,
        targets,
        code,
        params,
        sentence,
        Findings.of(clock, found),
        holdings);
  }

  /** The same with what disks hold. */
  public PeerAnswer with(Holdings told) {
    return new PeerAnswer(
        version, incarnation, state, forced, gone, targets, code, params, sentence, findings, told);
  }

  /** The same with a sentence for people. */
  public PeerAnswer saying(String words) {
    return new PeerAnswer(
        version,
        incarnation,
        state,
        forced,
        gone,
        targets,
        code,
        params,
        words,
        findings,
        holdings);
  }

  public boolean refused() {
    return !code.isEmpty();
  }

  /** Empty for unknown. */
  public Optional<State> known() {
    return state.isEmpty() ? Optional.empty() : Optional.of(State.valueOf(state));
  }

  public boolean in(State asked) {
    return state.equals(asked.name());
  }
}
