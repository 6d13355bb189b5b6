package io.xenferry.iscsi.initiator;

/**
 * What login agreed on (RFC 7143 section 13); lengths in bytes.
 *
 * @param peerSegment the largest data segment the target accepts
 * @param digests whether CRC32C follows headers and data
 * @param cmdSn the number of the first command
 * @param expStatSn the number of the target's next status
 */
record SessionParameters(
    long isid,
    int tsih,
    int peerSegment,
    int maxBurst,
    int firstBurst,
    boolean initialR2t,
    boolean immediateData,
    int maxOutstandingR2t,
    boolean digests,
    int cmdSn,
    int expStatSn,
    int maxCmdSn) {}
