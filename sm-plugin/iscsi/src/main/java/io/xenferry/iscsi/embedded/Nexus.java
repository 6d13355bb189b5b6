package io.xenferry.iscsi.embedded;

/**
 * The initiator's end of a session (SAM-5 §4.6.3): the same port is the same nexus when it comes
 * back.
 *
 * @param initiator iSCSI name
 * @param isid 48 bits
 */
record Nexus(String initiator, long isid) {
  /** The port's name, as a TransportID of format 01b has it (SPC-4 §7.6.4.6). */
  String portName() {
    return String.format("%s,i,0x%012x", initiator, isid);
  }
}
