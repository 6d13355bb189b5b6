package io.xenferry.iscsi.initiator;

import io.xenferry.block.BlockException;
import io.xenferry.block.BlockException.Kind;
import io.xenferry.iscsi.initiator.Command.Direction;
import io.xenferry.iscsi.scsi.Capacity;
import io.xenferry.iscsi.scsi.Cdb;
import io.xenferry.iscsi.scsi.Identity;
import java.nio.ByteBuffer;
import java.util.Optional;

/** The first look at a logical unit: what it is, how large, and what it can do. */
final class DiskProbe {
  private final Session session;
  private final IscsiOptions options;
  private final String name;

  DiskProbe(Session session, IscsiOptions options, String name) {
    this.session = session;
    this.options = options;
    this.name = name;
  }

  /**
   * @param maxTransferBlocks 0 when the target names none
   * @param maxUnmapBlocks of one UNMAP, 0 when UNMAP is not to be used
   * @param maxWriteSameBlocks of one WRITE SAME, 0 when the target names none
   * @param writeSameUnmap whether WRITE SAME(16) may unmap (LBPWS)
   */
  record Findings(
      Identity identity,
      Capacity capacity,
      boolean readOnly,
      long maxTransferBlocks,
      long maxUnmapBlocks,
      long maxWriteSameBlocks,
      boolean writeSameUnmap) {}

  Findings run() throws BlockException {
    ready();
    ByteBuffer inquiry = must(Cdb.inquiry(-1, 96), 96, Identity.LEAST);
    if ((inquiry.get(0) & 0xFF) != 0) {
      throw new BlockException(
          Kind.IO, String.format("%s is no disk (device type %02x)", name, inquiry.get(0)));
    }
    Identity identity =
        Identity.of(inquiry, maybe(Cdb.inquiry(0x80, 252), 252, 4), Optional.empty());
    Optional<ByteBuffer> long16 = maybe(Cdb.readCapacity16(32), 32, Capacity.LEAST_16);
    Capacity capacity =
        long16.isPresent()
            ? Capacity.of16(long16.get())
            : Capacity.of10(must(Cdb.readCapacity10(), 8, Capacity.LEAST_10));
    if (!capacity.sane()) {
      throw new BlockException(
          Kind.PROTOCOL,
          name
              + ": impossible capacity of "
              + capacity.blocks()
              + " blocks of "
              + capacity.blockSize());
    }
    boolean readOnly =
        maybe(Cdb.modeSense6(0x3F, 192), 192, 4).filter(m -> (m.get(2) & 0x80) != 0).isPresent();
    Optional<ByteBuffer> limits = maybe(Cdb.inquiry(0xB0, 64), 64, 16);
    Optional<ByteBuffer> provisioning = maybe(Cdb.inquiry(0xB2, 64), 64, 8);
    boolean unmap = capacity.thin() && provisioning.filter(p -> (p.get(5) & 0x80) != 0).isPresent();
    boolean writeSameUnmap =
        capacity.thin() && provisioning.filter(p -> (p.get(5) & 0x40) != 0).isPresent();
    long maxUnmap =
        limits.filter(l -> l.remaining() >= 28).map(l -> l.getInt(20) & 0xFFFFFFFFL).orElse(0L);
    return new Findings(
        identity,
        capacity,
        readOnly,
        limits.map(l -> l.getInt(8) & 0xFFFFFFFFL).orElse(0L),
        unmap ? (maxUnmap == 0 ? 0xFFFFFFFFL : maxUnmap) : 0,
        limits
            .filter(l -> l.remaining() >= 44)
            .map(l -> l.getLong(36))
            .filter(n -> n > 0)
            .orElse(0L),
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
      // Silence is no answer, also where the session has not noticed it yet.
      if (session.failure() != null || e.kind() == Kind.TIMEOUT) {
        throw e;
      }
      return Optional.empty();
    }
  }
}
