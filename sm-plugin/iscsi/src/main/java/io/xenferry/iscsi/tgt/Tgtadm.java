package io.xenferry.iscsi.tgt;

import io.xenferry.iscsi.target.TargetException;

/** The commands of tgtadm(8) to one daemon. */
@FunctionalInterface
public interface Tgtadm {
  /**
   * Gives a command.
   *
   * @param arguments those after {@code tgtadm -C N --lld iscsi}, in their long forms
   * @return what tgtadm prints
   * @throws TargetException DOWN when there is no daemon, TIMEOUT when it does not answer, else by
   *     what it says: EXISTS, NOT_FOUND, ACTIVE, INVALID or FAILED
   */
  String run(String... arguments) throws TargetException;
}
