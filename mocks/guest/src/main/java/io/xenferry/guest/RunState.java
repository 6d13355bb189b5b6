package io.xenferry.guest;

import java.util.Locale;

/** QEMU's run states (qapi/run-state.json) as far as this guest has them. */
enum RunState {
  PRELAUNCH,
  RUNNING,
  PAUSED,
  INMIGRATE,
  FINISH_MIGRATE,
  POSTMIGRATE,
  SHUTDOWN,
  PANICKED;

  String qmp() {
    return this == PANICKED ? "guest-panicked" : name().toLowerCase(Locale.ROOT).replace('_', '-');
  }
}
