package io.xenferry.server.session;

import java.time.Instant;

/** A session that has not ended, and when it was used. */
final class LiveSession {
  final Session session;
  volatile Instant active;

  /** When its row was told so. */
  volatile Instant written;

  /** Whether it is for one request only, of which somebody else tells. */
  final boolean passing;

  /** When it was last known that its user may log in. */
  volatile Instant validated;

  LiveSession(Session session, boolean passing, Instant now) {
    this.session = session;
    this.passing = passing;
    this.validated = now;
    this.active = now;
    this.written = now;
  }
}
