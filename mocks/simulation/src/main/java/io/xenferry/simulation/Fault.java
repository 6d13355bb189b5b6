package io.xenferry.simulation;

/**
 * What goes wrong in the simulated world, and what people do at the wrong moment: the rows of the
 * table that a run prints.
 *
 * <p>Each has a usual rate: of what happens by itself the probability per event, of the rest that
 * per look that {@link Clients} take, some three a second.
 */
enum Fault {
  /** A request or an answer; per message. */
  MESSAGE_LOST("message lost", 0.02),
  /** By seconds; per message. */
  MESSAGE_DELAYED("message delayed", 0.02),
  /** A request that arrives twice; per request. */
  MESSAGE_DOUBLED("message doubled", 0.06),
  /** A message that is overtaken by a later one: what delays come to. */
  MESSAGE_REORDERED("message reordered", 0),
  /** Nothing passes between the hosts for a while; per look. */
  CONNECTION_CUT("connection cut", 0.01),
  /** A server at its end, here that of a migration's source; per record, before and after it. */
  SOURCE_KILLED("source killed", 0.008),
  /** The same of a migration's destination; its rate is the source's. */
  DESTINATION_KILLED("destination killed", 0),
  /** A whole host loses its power, and what was not flushed; per server that is killed. */
  UNFLUSHED_LOST("unflushed data lost", 0.3),
  /** Fails for seconds, or once although the record is durable; per record. */
  LEDGER_FAILS("ledger unwritable", 0.006),
  /** Has not happened; per effect. */
  EFFECT_REFUSED("effect refused", 0.006),
  /** Has happened, and nobody says so; per effect. */
  EFFECT_UNANSWERED("effect unanswered", 0.006),
  /** Of the copy: a read at the source, a write at the destination; per request. */
  DISK_ERROR("disk error", 0.002),
  /** A write that stops in its middle; per request. */
  SHORT_WRITE("short write", 0.002),
  /** The destination's SR has no room for a while; per look. */
  SR_FULL("SR full", 0.004),
  /** The iSCSI target loses all exports; per look. */
  TARGET_GONE("target gone", 0.01),
  /** The answer to a request of the copy, and with it the connection; per request. */
  BLOCK_ANSWER_LOST("block answer lost", 0.003),
  /** The hypervisor's mirror of a disk; per start, and per write of the guest. */
  MIRROR_DIES("mirror dies", 0.04),
  /** By itself; per look. */
  GUEST_REBOOTS("guest reboots", 0.01),
  /** By itself; per look. */
  GUEST_HALTS("guest halts", 0.002),
  /** Its process ends, at either host; per look. */
  GUEST_CRASHES("guest crashes", 0.003),
  /** At either host; per look. */
  CANCEL("cancel", 0.02),
  /** A client begins the same move again, with the same token and with another; per look. */
  DOUBLE_REQUEST("double request", 0.02),
  /** A host's wall clock jumps, up to 50 minutes away from true time; per look. */
  CLOCK_JUMPS("clock jumps", 0.02),
  /** For a while the peer shows a certificate that is not the pinned one; per look. */
  CERTIFICATE_CHANGED("certificate changed", 0.01);

  private final String words;
  private final double usual;

  Fault(String words, double usual) {
    this.words = words;
    this.usual = usual;
  }

  /** As the table has it. */
  String words() {
    return words;
  }

  double usual() {
    return usual;
  }
}
