package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.time.Duration;
import java.util.Optional;

/**
 * Lets servers die in one laboratory after another: it goes from case to case as long as all is
 * well in it, each moving the VM from where the last one left it.
 */
final class Deaths implements AutoCloseable {
  private static final Duration PATIENCE = Duration.ofSeconds(90);

  private final Opener opener;
  private final String[] options;
  private Optional<Moves> kept = Optional.empty();

  /** Opens a laboratory of {@link FaultyServer}s with a VM that runs at the first site. */
  @FunctionalInterface
  interface Opener {
    Moves open() throws Exception;
  }

  /**
   * @param options of each move
   */
  Deaths(Opener opener, String... options) {
    this.opener = opener;
    this.options = options.clone();
  }

  void survive(Death death) throws Exception {
    if (kept.isEmpty()) {
      kept = Optional.of(opener.open());
    }
    Moves moves = kept.get();
    boolean well = false;
    try {
      survive(moves, death);
      well = true;
    } catch (AssertionError | IOException e) {
      throw new AssertionError(death + ": " + e.getMessage() + moves.describe(), e);
    } finally {
      if (!well) {
        close();
      }
    }
  }

  private void survive(Moves moves, Death death) throws Exception {
    Site from = moves.owner();
    Site to = moves.other(from);
    Site dying = death.side() == Death.Side.SOURCE ? from : to;
    death.fault().arm(dying.stateDirectory());
    Xe.Running xe = moves.move(from, options);
    assertThat(dying.awaitEnd(PATIENCE)).as("the server ends").isTrue();
    dying.start();
    Site owner = moves.assertWell();
    xe.await();
    death.moves().ifPresent(moved -> assertThat(owner).as("owner").isSameAs(moved ? to : from));
  }

  @Override
  public void close() throws IOException {
    if (kept.isPresent()) {
      Moves moves = kept.get();
      kept = Optional.empty();
      moves.close();
    }
  }
}
