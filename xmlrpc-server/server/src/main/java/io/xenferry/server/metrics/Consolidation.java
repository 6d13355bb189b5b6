package io.xenferry.server.metrics;

/** How the values of five seconds become one of a minute, an hour or a day. */
enum Consolidation {
  AVERAGE,
  MIN,
  MAX
}
