package io.xenferry.migration.peer;

import io.xenferry.migration.state.DiskTarget;
import io.xenferry.migration.state.State;
import java.util.List;
import java.util.Optional;
import java.util.UUID;

/**
 * What a server answers, whatever the message.
 *
 * @param version of the protocol, agreed at open
 * @param incarnation of the answering ledger
 * @param state of the migration there; empty for unknown
 * @param forced whether an operator forced that state
 * @param gone nothing but a tombstone of the migration is there
 * @param targets of an {@link PeerMessage.Open}: where to write
 * @param code XenAPI code of a refusal; empty when not refused
 * @param params of the code
 * @param sentence for people; empty for none
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
    String sentence) {

  public static final int VERSION = 1;

  public PeerAnswer {
    targets = List.copyOf(targets);
    params = List.copyOf(params);
    if (!state.isEmpty()) {
      State.valueOf(state);
    }
  }

  public static PeerAnswer of(UUID incarnation, State state, boolean forced, boolean gone) {
    return new PeerAnswer(
        VERSION, incarnation, state.name(), forced, gone, List.of(), "", List.of(), "");
  }

  public static PeerAnswer unknown(UUID incarnation) {
    return new PeerAnswer(VERSION, incarnation, "", false, true, List.of(), "", List.of(), "");
  }

  public PeerAnswer withTargets(List<DiskTarget> exports) {
    return new PeerAnswer(
        version, incarnation, state, forced, gone, exports, code, params, sentence);
  }

  public PeerAnswer refusing(String errorCode, List<String> errorParams, String words) {
    return new PeerAnswer(
        version, incarnation, state, forced, gone, List.of(), errorCode, errorParams, words);
  }

  /** The same with a sentence for people. */
  public PeerAnswer saying(String words) {
    return new PeerAnswer(version, incarnation, state, forced, gone, targets, code, params, words);
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
