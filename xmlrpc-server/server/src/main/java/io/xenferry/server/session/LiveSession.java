package io.xenferry.server.session;

import java.time.Instant;

/** A session that has not ended, and when it was used. */
final class LiveSession {
  final Session session;
  volatile Instant active;

  /** When its row was told so. */
  volatile Instant written;

  LiveSession(Session session, Instant now) {
    this.session = session;
    this.active = now;
    this.written = now;
  }
}
