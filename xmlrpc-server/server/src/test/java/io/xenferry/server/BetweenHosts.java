package io.xenferry.server;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;

/** Tests of moves between two servers, which those of a class have in common. */
abstract class BetweenHosts {
  static TwoHosts hosts;
  static TestServer.Calls source;
  static TestServer.Calls destination;

  /** The SR at the source. */
  static String from;

  /** The SR at the destination. */
  static String to;

  @BeforeAll
  static void startHosts() throws Exception {
    hosts = TwoHosts.start();
    source = hosts.source;
    destination = hosts.destination;
    from = hosts.from;
    to = hosts.to;
  }

  @AfterAll
  static void closeHosts() throws Exception {
    hosts.close();
  }
}
