package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.packaging.Death.Side;
import io.xenferry.packaging.Deaths.Opener;
import io.xenferry.packaging.Point.Victims;
import io.xenferry.server.StateChecker;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Kills servers in one laboratory after another, as {@link Deaths} does, but from outside, and both
 * at once where that is wanted.
 */
final class Murders implements AutoCloseable {
  private static final Duration PATIENCE = Duration.ofSeconds(90);

  /** Bytes a second: time to cancel. */
  private static final String SLOWLY = "bandwidth=2097152";

  private final Opener opener;
  private Optional<Moves> kept = Optional.empty();

  /** Whose servers are killed, and when. */
  record Murder(Point point, Victims victims) {
    @Override
    public String toString() {
      return "killed " + point + ": " + victims;
    }
  }

  Murders(Opener opener) {
    this.opener = opener;
  }

  /** The laboratory as it is. */
  Moves moves() throws Exception {
    if (kept.isEmpty()) {
      kept = Optional.of(opener.open());
    }
    return kept.get();
  }

  void survive(Murder murder) throws Exception {
    Moves moves = moves();
    boolean well = false;
    try {
      survive(moves, murder);
      well = true;
    } catch (AssertionError | Exception e) {
      throw new AssertionError(murder + ": " + e.getMessage() + moves.describe(), e);
    } finally {
      if (!well) {
        kept = Optional.empty();
        moves.close();
      }
    }
  }

  private static void survive(Moves moves, Murder murder) throws Exception {
    Point point = murder.point();
    Site from = moves.owner();
    Site to = moves.other(from);
    Site met = point.side() == Side.SOURCE ? from : to;
    point.held().arm(met.stateDirectory());
    Xe.Running xe = begin(moves, from, point.cancelled());
    await()
        .atMost(PATIENCE)
        .pollInterval(Duration.ofMillis(5))
        .until(() -> Fault.holds(met.stateDirectory()));
    List<Site> dead = victims(murder.victims(), from, to);
    Sighting sighting = Sighting.of(from, to, crash(murder.victims()), silent(murder.victims()));
    kill(dead);
    Fault.release(met.stateDirectory());
    for (Site site : dead) {
      assertThat(StateChecker.check(site.stateDirectory()))
          .as("what the server of %s has left", site.name())
          .isEmpty();
    }
    sighting.look(from, to);
    for (Site site : dead) {
      site.launch();
    }
    for (Site site : dead) {
      site.awaitReady();
    }
    Site owner = moves.assertWell();
    xe.await();
    boolean moved = owner != from;
    point
        .moves(murder.victims())
        .ifPresent(must -> assertThat(moved).as("the VM has moved").isEqualTo(must));
    MurderTable.note(sighting, moved, point.moves(murder.victims()).isPresent());
  }

  /**
   * Begins a move.
   *
   * @param cancelled whether it is cancelled while it copies
   */
  static Xe.Running begin(Moves moves, Site from, boolean cancelled) throws Exception {
    if (!cancelled) {
      return moves.move(from);
    }
    Xe.Running xe = moves.move(from, SLOWLY);
    MoveFigures.awaitPhase(from, "copying");
    String task =
        Xe.local(from)
            .run("task-list", "name-label=VM.migrate_send", "status=pending", "--minimal");
    Xe.local(from).run("task-cancel", "uuid=" + task);
    return xe;
  }

  static Crash crash(Victims victims) {
    return switch (victims) {
      case SOURCE -> Crash.SOURCE_KILLED;
      case DESTINATION -> Crash.DESTINATION_KILLED;
      case BOTH -> Crash.BOTH_KILLED;
    };
  }

  private static Set<Side> silent(Victims victims) {
    return Stream.of(Side.values()).filter(victims::include).collect(Collectors.toSet());
  }

  private static List<Site> victims(Victims victims, Site from, Site to) {
    return switch (victims) {
      case SOURCE -> List.of(from);
      case DESTINATION -> List.of(to);
      case BOTH -> List.of(from, to);
    };
  }

  /** At once, in one call. */
  private static void kill(List<Site> sites) throws Exception {
    List<String> command = new ArrayList<>(List.of("kill", "-KILL"));
    sites.forEach(site -> command.add(Long.toString(site.pid())));
    assertThat(new ProcessBuilder(command).start().waitFor()).isZero();
    for (Site site : sites) {
      assertThat(site.awaitEnd(PATIENCE)).isTrue();
    }
  }

  /** In order; what the servers have left must pass the checker. */
  @Override
  public void close() throws Exception {
    if (kept.isPresent()) {
      Moves moves = kept.get();
      kept = Optional.empty();
      try {
        for (Site site : moves.sites()) {
          if (site.isAlive()) {
            site.stop();
            assertThat(StateChecker.check(site.stateDirectory())).as(site.name()).isEmpty();
          }
        }
      } finally {
        moves.close();
      }
    }
  }
}
