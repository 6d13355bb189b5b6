package io.xenferry.migration.flow;

import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.state.State;

/** COMMITTED: the guest has not run. If its process is gone, it never will: RETURNED. */
final class Committed extends Deciding {
  private final boolean asking;

  /**
   * @param asking whether the source must say first that it still wants the commit
   */
  Committed(DestinationMigration migration, boolean asking) {
    super(migration, State.COMMITTED);
    this.asking = asking;
  }

  @Override
  void enter(boolean recovered) {
    if (!recovered && !asking) {
      goOn();
      return;
    }
    if (!migration.plan().running()) {
      withSourcesConsent(this::goOn);
      return;
    }
    check(() -> withSourcesConsent(this::goOn), 0);
  }

  private void goOn() {
    if (migration.plan().running()) {
      check(() -> migration.move(new Starting(migration)), 0);
    } else {
      migration.move(new Starting(migration));
    }
  }

  private void check(Runnable there, int attempt) {
    step(
        "looking after the guest",
        () -> ports().guests().observe(vm()),
        seen -> {
          if (seen == GuestState.GONE) {
            migration.giveBack("the guest's process ended before it ran");
          } else {
            there.run();
          }
        },
        failure -> retry(attempt, () -> check(there, attempt + 1)));
  }

  @Override
  void consented() {
    goOn();
  }
}
