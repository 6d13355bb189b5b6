package io.xenferry.iscsi.initiator;

/** The embedded target's disk through several sessions is no other than through one. */
class EmbeddedSessionsTest extends EmbeddedDiskTest {
  @Override
  protected IscsiOptions options() {
    return IscsiOptions.defaults().withSessions(3);
  }
}
