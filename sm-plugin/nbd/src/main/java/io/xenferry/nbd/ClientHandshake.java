package io.xenferry.nbd;

import static io.xenferry.nbd.NbdProtocol.*;

import io.xenferry.block.BlockException;
import io.xenferry.block.BlockException.Kind;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** The client's half of the fixed newstyle negotiation. Blocks; the caller keeps the deadline. */
final class ClientHandshake {
  /** More replies to one option than any honest server has reason to send. */
  private static final int MAX_REPLIES = 1000;

  private static final int MAX_REPLY = 64 << 10;

  private final String export;
  private NbdChannel channel;
  private long size = -1;
  private int flags;
  private long minimumBlock = 1;
  private long maximumBlock = MAX_PAYLOAD;
  private boolean structured;
  private final Map<String, Integer> contexts = new HashMap<>();

  /** What the two ends agreed on. */
  record Agreement(
      NbdChannel channel,
      long size,
      int flags,
      int alignment,
      int maxTransfer,
      boolean structured,
      Map<String, Integer> contexts) {
    boolean has(int flag) {
      return (flags & flag) != 0;
    }
  }

  ClientHandshake(NbdChannel channel, String export) {
    this.channel = channel;
    this.export = export;
  }

  Agreement run(List<String> wanted, Optional<TlsUpgrade> tls) throws IOException {
    if (channel.readLong() != MAGIC || channel.readLong() != OPTION_MAGIC) {
      throw NbdChannel.protocol("no newstyle greeting");
    }
    int offered = channel.readShort();
    if ((offered & FIXED_NEWSTYLE) == 0) {
      throw NbdChannel.protocol("no fixed newstyle greeting");
    }
    channel.frame().putInt(FIXED_NEWSTYLE | offered & NO_ZEROES);
    channel.send();
    if (tls.isPresent()) {
      startTls(tls.get());
    }
    structured = ask(OPT_STRUCTURED_REPLY, new byte[0], (type, data) -> {}) == REP_ACK;
    if (structured && !wanted.isEmpty()) {
      ask(OPT_SET_META_CONTEXT, metaContextQuery(wanted), this::noteContext);
    }
    go();
    return agreement();
  }

  private void startTls(TlsUpgrade tls) throws IOException {
    int answer = ask(OPT_STARTTLS, new byte[0], (type, data) -> {});
    if (answer != REP_ACK || channel.hasBuffered()) {
      throw new BlockException(Kind.ACCESS, "the NBD server does not do TLS");
    }
    channel = new NbdChannel(tls.upgrade(channel.channel()));
  }

  private byte[] metaContextQuery(List<String> wanted) {
    byte[] name = export.getBytes(StandardCharsets.UTF_8);
    int length = 8 + name.length;
    for (String context : wanted) {
      length += 4 + context.getBytes(StandardCharsets.UTF_8).length;
    }
    ByteBuffer query = ByteBuffer.allocate(length);
    query.putInt(name.length).put(name).putInt(wanted.size());
    for (String context : wanted) {
      byte[] text = context.getBytes(StandardCharsets.UTF_8);
      query.putInt(text.length).put(text);
    }
    return query.array();
  }

  private void noteContext(int type, ByteBuffer data) throws IOException {
    if (type == REP_META_CONTEXT) {
      if (data.remaining() < 4) {
        throw NbdChannel.protocol("a truncated metadata context");
      }
      int id = data.getInt();
      contexts.put(StandardCharsets.UTF_8.decode(data).toString(), id);
    }
  }

  private void go() throws IOException {
    byte[] name = export.getBytes(StandardCharsets.UTF_8);
    ByteBuffer request = ByteBuffer.allocate(8 + name.length);
    request.putInt(name.length).put(name).putShort((short) 1).putShort((short) INFO_BLOCK_SIZE);
    int answer = ask(OPT_GO, request.array(), this::noteInfo);
    switch (answer) {
      case REP_ACK -> {}
      case REP_ERR_UNKNOWN ->
          throw new BlockException(Kind.ACCESS, "the NBD server has no such export");
      case REP_ERR_TLS_REQD -> throw new BlockException(Kind.ACCESS, "the NBD server demands TLS");
      case REP_ERR_UNSUP ->
          throw NbdChannel.protocol("no NBD_OPT_GO; servers that old are not supported");
      default ->
          throw new BlockException(
              Kind.ACCESS, "the NBD server refuses the export: " + code(answer));
    }
    if (size < 0) {
      throw NbdChannel.protocol("no size, or one beyond 2^63");
    }
  }

  private void noteInfo(int type, ByteBuffer data) throws IOException {
    if (type != REP_INFO || data.remaining() < 2) {
      return;
    }
    int info = Short.toUnsignedInt(data.getShort());
    if (info == INFO_EXPORT && data.remaining() >= 10) {
      size = data.getLong();
      flags = Short.toUnsignedInt(data.getShort());
    } else if (info == INFO_BLOCK_SIZE && data.remaining() >= 12) {
      minimumBlock = Integer.toUnsignedLong(data.getInt());
      data.getInt();
      maximumBlock = Integer.toUnsignedLong(data.getInt());
    }
  }

  private Agreement agreement() throws BlockException {
    if (Long.bitCount(minimumBlock) != 1
        || minimumBlock > 64 << 10
        || maximumBlock < minimumBlock) {
      throw NbdChannel.protocol("block sizes " + minimumBlock + " to " + maximumBlock);
    }
    long max = Math.min(maximumBlock, MAX_PAYLOAD);
    return new Agreement(
        channel,
        size,
        flags,
        (int) minimumBlock,
        (int) (max - max % minimumBlock),
        structured,
        Map.copyOf(contexts));
  }

  private interface ReplyConsumer {
    void accept(int type, ByteBuffer data) throws IOException;
  }

  /** Sends an option and answers the type of the reply that ends it: ACK or an error. */
  private int ask(int option, byte[] data, ReplyConsumer consumer) throws IOException {
    channel.frame().putLong(OPTION_MAGIC).putInt(option).putInt(data.length);
    channel.send(ByteBuffer.wrap(data));
    for (int i = 0; i < MAX_REPLIES; i++) {
      if (channel.readLong() != OPTION_REPLY_MAGIC || channel.readInt() != option) {
        throw NbdChannel.protocol("something that is no reply to option " + option);
      }
      int type = channel.readInt();
      int length = channel.readInt();
      if (length < 0 || length > MAX_REPLY) {
        throw NbdChannel.protocol("an option reply of " + Integer.toUnsignedString(length));
      }
      ByteBuffer reply = ByteBuffer.wrap(channel.readBytes(length));
      if (type == REP_ACK || type < 0) {
        return type;
      }
      consumer.accept(type, reply);
    }
    throw NbdChannel.protocol("replies without end to option " + option);
  }

  private static String code(int error) {
    return "NBD_REP_ERR " + (error & 0x7fffffff);
  }
}
