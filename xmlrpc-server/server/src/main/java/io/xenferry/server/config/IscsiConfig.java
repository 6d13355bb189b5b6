package io.xenferry.server.config;

/**
 * How this host's initiator reaches the disks of a move over iSCSI.
 *
 * @param sessions to one disk, 1 to {@link #MOST_SESSIONS}; one fills a link of its own, several
 *     what joins links by connection
 * @param digests whether CRC32C guards headers and data, also against what TCP's checksum misses; a
 *     target that will not is refused
 */
public record IscsiConfig(int sessions, boolean digests) {
  /** Of one disk; each has a thread and the target a connection. */
  public static final int MOST_SESSIONS = 16;

  public IscsiConfig {
    if (sessions < 1 || sessions > MOST_SESSIONS) {
      throw new IllegalArgumentException("not between 1 and " + MOST_SESSIONS + ": " + sessions);
    }
  }

  public static IscsiConfig defaults() {
    return new IscsiConfig(1, false);
  }
}
