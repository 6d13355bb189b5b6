package io.xenferry.packaging;

/** What goes wrong in a move, and what an operator does about it. */
enum Crash {
  SOURCE_KILLED("The source's server dies", "Start it again."),
  DESTINATION_KILLED("The destination's server dies", "Start it again."),
  BOTH_KILLED("Both servers die at once", "Start them again, in any order."),
  SOURCE_STOPPED(
      "The source's server stands still", "Let it go on, or kill it and start it again."),
  DESTINATION_STOPPED(
      "The destination's server stands still", "Let it go on, or kill it and start it again."),
  BOTH_STOPPED("Both servers stand still", "Let them go on, or kill them and start them again."),
  TARGET_STOPPED("The destination's tgtd stands still", "Let it go on, or kill it: it comes back."),
  GUESTS_STOPPED(
      "The processes of the guest stand still", "Let them go on. Killing one ends the guest."),
  CUT_TO_DESTINATION("Nothing arrives at the destination", "Mend the network."),
  CUT_TO_SOURCE("Nothing arrives at the source", "Mend the network."),
  CUT_BOTH_WAYS("Nothing arrives at either side", "Mend the network."),
  SOURCES_STATE_FULL("The disk of the source's state directory is full", "Make room there."),
  DESTINATIONS_STATE_FULL(
      "The disk of the destination's state directory is full", "Make room there."),
  DESTINATIONS_SR_FULL("The destination's SR is full", "Make room there, and move the VM again.");

  private final String words;
  private final String remedy;

  Crash(String words, String remedy) {
    this.words = words;
    this.remedy = remedy;
  }

  String words() {
    return words;
  }

  String remedy() {
    return remedy;
  }
}
