package io.xenferry.simulation;

/** Unwinds the stack of a server that has just been killed; the simulation's loop catches it. */
final class SimulatedCrash extends Error {
  private static final long serialVersionUID = 1L;

  SimulatedCrash(String host) {
    super(host, null, false, false);
  }
}
