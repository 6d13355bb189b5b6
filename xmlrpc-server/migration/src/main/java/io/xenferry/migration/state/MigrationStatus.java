package io.xenferry.migration.state;

import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.UUID;

/**
 * All that is known of a migration on one host at one instant.
 *
 * @param vm the VM's uuid on this host
 * @param phase what is being done, in a few words: {@code copying}, {@code closing exports}
 * @param progress 0 to 1; never falls
 * @param disks how far each is; empty at the destination
 * @param phases how long it has been in each, in the order in which they came; of this server only
 * @param memorySent bytes of guest memory sent so far
 * @param memoryRemaining bytes of guest memory still to be sent; 0 once it has ended
 * @param waiting what is asked of whom, while something is
 * @param peer whether the other server is there, while it must be heard regularly
 * @param downtime from the guest's pause at the source until the answer that it runs, once known
 * @param steering how it is carried on; at the source, while that is not in the past
 * @param outcome a sentence once there is one: why it failed, or where the VM is
 * @param ended whether nothing is left to do on this host
 */
public record MigrationStatus(
    MigrationId migration,
    Role role,
    UUID vm,
    State state,
    String phase,
    double progress,
    List<DiskProgress> disks,
    SequencedMap<String, Duration> phases,
    long memorySent,
    long memoryRemaining,
    Optional<Waiting> waiting,
    Optional<PeerStanding> peer,
    Optional<Duration> downtime,
    Optional<Steering> steering,
    Optional<String> outcome,
    boolean forced,
    boolean ended,
    Instant started,
    Instant updated) {

  /** The phase, and what is wrong with the other server, if anything is. */
  public String phaseAndPeer() {
    return peer.filter(standing -> standing.kind() != PeerStanding.Kind.ANSWERS)
        .map(standing ->
            phase
                + " (the "
                + (role == Role.SOURCE ? "destination" : "source")
                + " is "
                + standing.words()
                + ")")
        .orElse(phase);
  }

  /**
   * What this host waits for.
   *
   * @param from the peer's URL, or {@code storage}, {@code guest}
   * @param what what is asked of it
   * @param since when this was first asked
   * @param lastTried when it was last asked
   * @param attempts how often, 1 or more
   * @param lastAnswer what came back last, in words
   */
  public record Waiting(
      String from,
      String what,
      Instant since,
      Instant lastTried,
      int attempts,
      Optional<String> lastAnswer) {

    /** Begins the words for an answer that never came. */
    public static final String NO_ANSWER = "no answer";

    /** Whether the peer was asked, and nothing came back. */
    public boolean unanswered() {
      return lastAnswer.filter(words -> words.startsWith(NO_ANSWER)).isPresent();
    }
  }
}
