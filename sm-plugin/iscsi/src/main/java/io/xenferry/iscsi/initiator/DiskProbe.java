package io.xenferry.iscsi.initiator;

import io.xenferry.block.BlockException;
import io.xenferry.block.BlockException.Kind;
import io.xenferry.iscsi.initiator.Command.Direction;
import io.xenferry.iscsi.scsi.Cdb;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Optional;

/** The first look at a logical unit: what it is, how large, and what it can do. */
final class DiskProbe {
  private static final int MAX_BLOCK_SIZE = 64 * 1024;

  private final Session session;
  private final IscsiOptions options;
  private final String name;

  DiskProbe(Session session, IscsiOptions options, String name) {
    this.session = session;
    this.options = options;
    this.name = name;
  }

  /**
   * @param blocks of the medium
   * @param maxTransferBlocks 0 when the target names none
   * @param maxUnmapBlocks of one UNMAP, 0 when UNMAP is not to be used
   * @param maxWriteSameBlocks of one WRITE SAME, 0 when the target names none
   * @param unmapZeroes whether what was unmapped reads as zeroes (LBPRZ)
   * @param writeSameUnmap whether WRITE SAME(16) may unmap (LBPWS)
   */
  record Findings(
      String vendor,
      String product,
      String serial,
      long blocks,
      int blockSize,
      boolean readOnly,
      long maxTransferBlocks,
      long maxUnmapBlocks,
      long maxWriteSameBlocks,
      boolean unmapZeroes,
      boolean writeSameUnmap) {}

  Findings run() throws BlockException {
    ready();
    ByteBuffer inquiry = must(Cdb.inquiry(-1, 96), 96, 36);
    if ((inquiry.get(0) & 0xFF) != 0) {
      throw new BlockException(
          Kind.IO, String.format("%s is no disk (device type %02x)", name, inquiry.get(0)));
    }
    String vendor = ascii(inquiry, 8, 8);
    String product = ascii(inquiry, 16, 16);
    Optional<ByteBuffer> serial = maybe(Cdb.inquiry(0x80, 252), 252, 4);
    long lastBlock;
    int blockSize;
    boolean thin = false;
    boolean zeroes = false;
    Optional<ByteBuffer> long16 = maybe(Cdb.readCapacity16(32), 32, 16);
    if (long16.isPresent()) {
      lastBlock = long16.get().getLong(0);
      blockSize = long16.get().getInt(8);
      thin = (long16.get().get(14) & 0x80) != 0;
      zeroes = thin && (long16.get().get(14) & 0x40) != 0;
    } else {
      ByteBuffer short10 = must(Cdb.readCapacity10(), 8, 8);
      lastBlock = short10.getInt(0) & 0xFFFFFFFFL;
      blockSize = short10.getInt(4);
    }
    boolean sane =
        lastBlock >= 0
            && blockSize >= 512
            && blockSize <= MAX_BLOCK_SIZE
            && Integer.bitCount(blockSize) == 1
            && lastBlock < Long.MAX_VALUE / blockSize - 1;
    if (!sane) {
      throw new BlockException(
          Kind.PROTOCOL, name + ": impossible capacity " + lastBlock + " × " + blockSize);
    }
    boolean readOnly =
        maybe(Cdb.modeSense6(0x3F, 192), 192, 4).filter(m -> (m.get(2) & 0x80) != 0).isPresent();
    Optional<ByteBuffer> limits = maybe(Cdb.inquiry(0xB0, 64), 64, 16);
    Optional<ByteBuffer> provisioning = maybe(Cdb.inquiry(0xB2, 64), 64, 8);
    boolean unmap = thin && provisioning.filter(p -> (p.get(5) & 0x80) != 0).isPresent();
    boolean writeSameUnmap = thin && provisioning.filter(p -> (p.get(5) & 0x40) != 0).isPresent();
    long maxUnmap =
        limits.filter(l -> l.remaining() >= 28).map(l -> l.getInt(20) & 0xFFFFFFFFL).orElse(0L);
    return new Findings(
        vendor,
        product,
        serial.map(s -> ascii(s, 4, Math.min(s.get(3) & 0xFF, s.remaining() - 4))).orElse(""),
        lastBlock + 1,
        blockSize,
        readOnly,
        limits.map(l -> l.getInt(8) & 0xFFFFFFFFL).orElse(0L),
        unmap ? (maxUnmap == 0 ? 0xFFFFFFFFL : maxUnmap) : 0,
        limits
            .filter(l -> l.remaining() >= 44)
            .map(l -> l.getLong(36))
            .filter(n -> n > 0)
            .orElse(0L),
        zeroes,
        writeSameUnmap);
  }

  /** Unit attentions of the login are consumed here; the session sends again what they refuse. */
  private void ready() throws BlockException {
    Waiting.await(
        session.submit(Cdb.testUnitReady(), Direction.NONE, null, false, false),
        options.commandTimeout(),
        name);
  }

  private ByteBuffer must(byte[] cdb, int allocation, int least) throws BlockException {
    ByteBuffer answer = ByteBuffer.allocate(allocation);
    int got =
        Waiting.await(
            session.submit(cdb, Direction.READ, answer, false, false),
            options.commandTimeout(),
            name);
    if (got < least) {
      throw new BlockException(
          Kind.PROTOCOL, String.format("%s: answer of %d bytes to %02x", name, got, cdb[0]));
    }
    return answer.limit(got);
  }

  /** An answer that a plain disk need not give. */
  private Optional<ByteBuffer> maybe(byte[] cdb, int allocation, int least) throws BlockException {
    try {
      ByteBuffer answer = must(cdb, allocation, least);
      boolean page = cdb[0] != Cdb.INQUIRY || answer.get(1) == cdb[2];
      return page ? Optional.of(answer) : Optional.empty();
    } catch (BlockException e) {
      if (session.failure() != null) {
        throw e;
      }
      return Optional.empty();
    }
  }

  private static String ascii(ByteBuffer from, int at, int length) {
    byte[] bytes = new byte[Math.max(0, length)];
    from.get(at, bytes);
    return new String(bytes, StandardCharsets.US_ASCII).replaceAll("[^\\x20-\\x7e]", "").strip();
  }
}
