package io.xenferry.iscsi.initiator;

import io.xenferry.block.BlockException;
import io.xenferry.block.BlockException.Kind;
import io.xenferry.iscsi.IscsiUrl.Credentials;
import io.xenferry.iscsi.pdu.Chap;
import io.xenferry.iscsi.pdu.Pdu;
import io.xenferry.iscsi.pdu.Pdu.Stage;
import io.xenferry.iscsi.pdu.ProtocolException;
import io.xenferry.iscsi.pdu.TextKeys;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * The login phase (RFC 7143 section 6): security stage with CHAP where an account is given, then
 * the operational stage, until the target says full feature phase.
 */
final class Login {
  /** More exchanges than any sane negotiation has. */
  private static final int MAX_STEPS = 20;

  private static final int MIN_SEGMENT = 512;
  private static final int MAX_SEGMENT = (1 << 24) - 1;

  private final LoginConnection connection;
  private final IscsiOptions options;
  private final Optional<Credentials> account;
  private final Optional<String> target;
  private final long isid;
  private int tsih;
  private int expStatSn;
  private int maxCmdSn;
  private int steps;
  private Stage stage = Stage.SECURITY;

  /**
   * @param target empty for a discovery session
   */
  Login(
      LoginConnection connection,
      IscsiOptions options,
      Optional<Credentials> account,
      Optional<String> target,
      long isid) {
    this.connection = connection;
    this.options = options;
    this.account = account;
    this.target = target;
    this.isid = isid;
  }

  SessionParameters run() throws BlockException {
    try {
      security();
      return operational();
    } catch (ProtocolException e) {
      throw new BlockException(Kind.PROTOCOL, "login: " + e.getMessage(), e);
    }
  }

  private TextKeys identity() {
    TextKeys keys = new TextKeys().set("InitiatorName", options.initiatorName());
    target.ifPresentOrElse(
        name -> keys.set("SessionType", "Normal").set("TargetName", name),
        () -> keys.set("SessionType", "Discovery"));
    return keys;
  }

  private void security() throws BlockException, ProtocolException {
    boolean mutual = options.targetAccount().isPresent();
    if (account.isEmpty()) {
      if (mutual) {
        throw new BlockException(Kind.ACCESS, "mutual CHAP needs an account of ours too");
      }
      TextKeys answer = step(identity().set("AuthMethod", "None"), true, Stage.OPERATIONAL);
      requireNone(answer);
      while (stage == Stage.SECURITY) {
        step(new TextKeys(), true, Stage.OPERATIONAL);
      }
      return;
    }
    TextKeys answer =
        step(identity().set("AuthMethod", mutual ? "CHAP" : "CHAP,None"), false, Stage.OPERATIONAL);
    if (!answer.get("AuthMethod").orElse("").equals("CHAP")) {
      if (mutual) {
        throw new BlockException(Kind.ACCESS, "the target does not do CHAP");
      }
      requireNone(answer);
      while (stage == Stage.SECURITY) {
        step(new TextKeys(), true, Stage.OPERATIONAL);
      }
      return;
    }
    chap(account.get());
  }

  private static void requireNone(TextKeys answer) throws BlockException {
    String method = answer.get("AuthMethod").orElse("None");
    if (!method.equals("None")) {
      throw new BlockException(Kind.ACCESS, "the target asks for authentication by " + method);
    }
  }

  private void chap(Credentials credentials) throws BlockException, ProtocolException {
    TextKeys challenge = step(new TextKeys().set("CHAP_A", Chap.MD5), false, Stage.OPERATIONAL);
    if (!challenge.get("CHAP_A").orElse("").equals(Chap.MD5)) {
      throw new BlockException(Kind.ACCESS, "the target does not do CHAP with MD5");
    }
    int id = challenge.number("CHAP_I", -1, 0, 255);
    byte[] bytes = Chap.binary(required(challenge, "CHAP_C"));
    TextKeys reply =
        new TextKeys()
            .set("CHAP_N", credentials.user())
            .set("CHAP_R", Chap.hex(Chap.response(id, credentials.secret(), bytes)));
    byte @Nullable [] ours = null;
    int ourId = 0;
    if (options.targetAccount().isPresent()) {
      ours = Chap.newChallenge();
      ourId = Chap.newIdentifier();
      if (java.util.Arrays.equals(ours, bytes)) {
        throw new ProtocolException("the target's challenge equals ours");
      }
      reply.set("CHAP_I", Integer.toString(ourId)).set("CHAP_C", Chap.hex(ours));
    }
    TextKeys answer = step(reply, true, Stage.OPERATIONAL);
    if (ours != null) {
      Credentials expected = options.targetAccount().orElseThrow();
      boolean known =
          answer.get("CHAP_N").orElse("").equals(expected.user())
              && Chap.matches(
                  Chap.response(ourId, expected.secret(), ours),
                  Chap.binary(required(answer, "CHAP_R")));
      if (!known) {
        throw new BlockException(Kind.ACCESS, "the target failed to authenticate itself");
      }
    }
    while (stage == Stage.SECURITY) {
      step(new TextKeys(), true, Stage.OPERATIONAL);
    }
  }

  private static String required(TextKeys keys, String key) throws ProtocolException {
    return keys.get(key).orElseThrow(() -> new ProtocolException("no " + key));
  }

  private SessionParameters operational() throws BlockException, ProtocolException {
    String digest = options.digests() ? "CRC32C" : "None";
    TextKeys offer =
        new TextKeys()
            .set("HeaderDigest", digest)
            .set("DataDigest", digest)
            .set("MaxRecvDataSegmentLength", Integer.toString(options.maxSegment()))
            .set("DefaultTime2Wait", "0")
            .set("DefaultTime2Retain", "0")
            .set("ErrorRecoveryLevel", "0");
    if (target.isPresent()) {
      offer
          .set("MaxConnections", "1")
          .set("InitialR2T", "No")
          .set("ImmediateData", "Yes")
          .set("MaxBurstLength", Integer.toString(Math.max(options.maxTransfer(), 262144)))
          .set("FirstBurstLength", Integer.toString(options.maxSegment()))
          .set("MaxOutstandingR2T", "8")
          .set("DataPDUInOrder", "Yes")
          .set("DataSequenceInOrder", "Yes");
    }
    TextKeys agreed = new TextKeys();
    merge(agreed, step(offer, true, Stage.FULL_FEATURE));
    // A tuned tgtd answers with T=0 and values of its own: go on with empty requests until T=1.
    while (stage != Stage.FULL_FEATURE) {
      merge(agreed, step(new TextKeys(), true, Stage.FULL_FEATURE));
    }
    for (String key : new String[] {"HeaderDigest", "DataDigest"}) {
      if (!agreed.get(key).orElse("None").equals(digest)) {
        throw new ProtocolException(key + " that was not offered");
      }
    }
    int maxBurst = agreed.number("MaxBurstLength", 262144, MIN_SEGMENT, MAX_SEGMENT);
    return new SessionParameters(
        isid,
        tsih,
        agreed.number("MaxRecvDataSegmentLength", 8192, MIN_SEGMENT, MAX_SEGMENT),
        maxBurst,
        Math.min(maxBurst, agreed.number("FirstBurstLength", 65536, MIN_SEGMENT, MAX_SEGMENT)),
        agreed.yes("InitialR2T", true),
        agreed.yes("ImmediateData", true),
        agreed.number("MaxOutstandingR2T", 1, 1, 65535),
        options.digests(),
        1,
        expStatSn,
        maxCmdSn);
  }

  private static void merge(TextKeys all, TextKeys more) {
    more.asMap().forEach(all::set);
  }

  /** One request and its whole answer, which may come in several PDUs. */
  private TextKeys step(TextKeys keys, boolean transit, Stage next)
      throws BlockException, ProtocolException {
    Stage current = stage;
    connection.send(
        new Pdu.LoginRequest(transit, false, current, next, isid, 0, 0, 0, 1, expStatSn), keys);
    ByteArrayOutputStream text = new ByteArrayOutputStream();
    while (true) {
      if (++steps > MAX_STEPS) {
        throw new ProtocolException("login without end");
      }
      LoginConnection.Received received = connection.receive();
      if (!(received.pdu() instanceof Pdu.LoginResponse response)) {
        throw new ProtocolException("no login response but " + received.pdu().getClass());
      }
      if (response.status() != 0) {
        throw refused(response.status());
      }
      if (response.current() != current || response.itt() != 0) {
        throw new ProtocolException("a login response out of turn");
      }
      expStatSn = response.sn().statSn() + 1;
      maxCmdSn = response.sn().maxCmdSn();
      text.writeBytes(bytes(received.data()));
      if (text.size() > TextKeys.MAX_BYTES) {
        throw new ProtocolException("login text beyond " + TextKeys.MAX_BYTES + " bytes");
      }
      if (response.more()) {
        connection.send(
            new Pdu.LoginRequest(false, false, current, current, isid, 0, 0, 0, 1, expStatSn),
            new TextKeys());
        continue;
      }
      if (response.transit()) {
        if (!transit || !response.next().isAfter(current)) {
          throw new ProtocolException("the target changes stage unasked");
        }
        if (response.next().isAfter(next)) {
          throw new ProtocolException("the target skips a stage");
        }
        stage = response.next();
        tsih = response.tsih();
      }
      return TextKeys.parse(ByteBuffer.wrap(text.toByteArray()));
    }
  }

  private static byte[] bytes(ByteBuffer buffer) {
    byte[] bytes = new byte[buffer.remaining()];
    buffer.get(bytes);
    return bytes;
  }

  /** RFC 7143 section 11.13.5. */
  private static BlockException refused(int status) {
    String why =
        switch (status) {
          case 0x0101, 0x0102 -> "the target has moved, and redirection is not followed";
          case 0x0201 -> "authentication failed";
          case 0x0202 -> "this initiator may not log in";
          case 0x0203 -> "no such target";
          case 0x0204 -> "the target was removed";
          case 0x0206 -> "too many connections";
          case 0x0207 -> "a parameter is missing";
          default -> status >>> 8 == 3 ? "the target failed" : "refused";
        };
    return new BlockException(Kind.ACCESS, String.format("login: %s (status %04x)", why, status));
  }
}
