package io.xenferry.iscsi.initiator;

/** A disk of tgtd's through several sessions is no other than through one. */
class TgtSessionsTest extends TgtDiskTest {
  @Override
  protected IscsiOptions options() {
    return IscsiOptions.defaults().withSessions(3);
  }
}
