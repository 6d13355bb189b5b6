package io.xenferry.guest;

import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The end of a guest that is of no use to anybody: a disk or its ledger has failed. */
final class Failure {
  private static final Logger LOG = LoggerFactory.getLogger(Failure.class);

  /** What the process ends with; 1 is a guest that could not start. */
  static final int STATUS = 3;

  private Failure() {}

  /** Says why in the guest's log, and ends the process at once, without closing anything. */
  static void end(String why, Exception cause) {
    LOG.error("the guest ends: {}", why, cause);
    Runtime.getRuntime().halt(STATUS);
  }
}
