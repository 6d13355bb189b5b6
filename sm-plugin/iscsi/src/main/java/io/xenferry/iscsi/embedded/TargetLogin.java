package io.xenferry.iscsi.embedded;

import io.xenferry.iscsi.IscsiUrl.Credentials;
import io.xenferry.iscsi.pdu.Chap;
import io.xenferry.iscsi.pdu.Pdu;
import io.xenferry.iscsi.pdu.Pdu.Stage;
import io.xenferry.iscsi.pdu.ProtocolException;
import io.xenferry.iscsi.pdu.TextKeys;
import java.io.ByteArrayOutputStream;
import java.net.InetAddress;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** The target's half of login (RFC 7143 sections 6 and 13). Confined to the loop. */
final class TargetLogin {
  static final int MAX_SEGMENT = 256 * 1024;
  private static final int MAX_BURST = 1024 * 1024;
  private static final int MAX_STEPS = 24;

  static final int AUTHENTICATION_FAILED = 0x0201;
  private static final int INITIATOR_ERROR = 0x0200;
  private static final int NOT_ALLOWED = 0x0202;
  private static final int NOT_FOUND = 0x0203;
  private static final int MISSING_PARAMETER = 0x0207;
  private static final int TOO_MANY_CONNECTIONS = 0x0206;
  private static final int NO_SUCH_SESSION = 0x020A;
  private static final int OUT_OF_RESOURCES = 0x0302;

  private enum Security {
    START,
    ALGORITHM,
    RESPONSE,
    DONE
  }

  /** A login that ends with a status other than success. */
  static final class Refused extends Exception {
    private static final long serialVersionUID = 1L;
    final int status;

    Refused(int status) {
      super(String.format("status %04x", status), null, false, false);
      this.status = status;
    }
  }

  private final Function<String, Optional<ServedTarget>> targets;
  private final InetAddress from;
  private final int maxSessions;
  private final ByteArrayOutputStream text = new ByteArrayOutputStream();
  private int steps;
  private boolean first = true;
  private boolean declared;
  private Security security = Security.START;
  private int chapId;
  private byte[] challenge = {};
  private Stage stage = Stage.SECURITY;

  String initiator = "";
  long isid;
  @Nullable ServedTarget target;
  int peerSegment = 8192;
  int maxBurst = 262144;
  int firstBurst = 65536;
  boolean initialR2t = true;
  boolean immediateData = true;
  boolean headerDigest;
  boolean dataDigest;

  /**
   * @param targets by name
   * @param maxSessions of one target
   */
  TargetLogin(Function<String, Optional<ServedTarget>> targets, InetAddress from, int maxSessions) {
    this.targets = targets;
    this.from = from;
    this.maxSessions = maxSessions;
  }

  /**
   * What to answer.
   *
   * @param transit whether the initiator's wish to change stage is granted
   */
  record Answer(TextKeys keys, boolean transit, Stage current, Stage next) {}

  /** Empty while more text of the same request is to come. */
  Optional<Answer> request(Pdu.LoginRequest request, ByteBuffer data)
      throws Refused, ProtocolException {
    if (++steps > MAX_STEPS) {
      throw new ProtocolException("login without end");
    }
    byte[] bytes = new byte[data.remaining()];
    data.get(bytes);
    text.writeBytes(bytes);
    if (text.size() > TextKeys.MAX_BYTES) {
      throw new ProtocolException("login text beyond " + TextKeys.MAX_BYTES + " bytes");
    }
    if (request.more()) {
      return Optional.empty();
    }
    TextKeys keys = TextKeys.parse(ByteBuffer.wrap(text.toByteArray()));
    text.reset();
    TextKeys answer = new TextKeys();
    if (first) {
      identify(request, keys);
      first = false;
      stage = request.current();
      if (target != null) {
        answer.set("TargetPortalGroupTag", "1");
      }
      if (stage == Stage.OPERATIONAL && account().isPresent()) {
        throw new Refused(AUTHENTICATION_FAILED);
      }
    }
    if (request.current() != stage || stage == Stage.FULL_FEATURE) {
      throw new Refused(INITIATOR_ERROR);
    }
    boolean ready = stage == Stage.SECURITY ? security(keys, answer) : operational(keys, answer);
    boolean transit = request.transit() && ready;
    Stage before = stage;
    if (transit) {
      if (!request.next().isAfter(stage)) {
        throw new Refused(INITIATOR_ERROR);
      }
      stage = request.next();
    }
    return Optional.of(new Answer(answer, transit, before, stage));
  }

  private void identify(Pdu.LoginRequest request, TextKeys keys) throws Refused {
    isid = request.isid();
    initiator = keys.get("InitiatorName").orElseThrow(() -> new Refused(MISSING_PARAMETER));
    if (!initiator.matches("(iqn|eui|naa)\\.[A-Za-z0-9.:_\\-]{1,219}")) {
      throw new Refused(INITIATOR_ERROR);
    }
    if (keys.get("SessionType").orElse("Normal").equals("Discovery")) {
      if (request.tsih() != 0) {
        throw new Refused(NO_SUCH_SESSION);
      }
      return;
    }
    String name = keys.get("TargetName").orElseThrow(() -> new Refused(MISSING_PARAMETER));
    ServedTarget found = targets.apply(name).orElseThrow(() -> new Refused(NOT_FOUND));
    if (!found.admits(initiator, from)) {
      throw new Refused(NOT_ALLOWED);
    }
    Nexus nexus = new Nexus(initiator, isid);
    if (request.tsih() != 0) {
      // A second connection of a session, of which we have one (MaxConnections=1).
      boolean known = found.connections.stream().anyMatch(c -> c.isOf(nexus, request.tsih()));
      throw new Refused(known ? TOO_MANY_CONNECTIONS : NO_SUCH_SESSION);
    }
    // One that comes again takes its own place.
    if (found.connections.stream().filter(c -> !c.nexus().equals(nexus)).count() >= maxSessions) {
      throw new Refused(OUT_OF_RESOURCES);
    }
    target = found;
  }

  private Optional<Credentials> account() {
    ServedTarget served = target;
    return served == null ? Optional.empty() : served.export.account();
  }

  /** Whether authentication is done. */
  private boolean security(TextKeys keys, TextKeys answer) throws Refused, ProtocolException {
    switch (security) {
      case START -> {
        String offered = keys.get("AuthMethod").orElse("None");
        String method = account().isPresent() ? "CHAP" : "None";
        if (!Arrays.asList(offered.split(",")).contains(method)) {
          throw new Refused(AUTHENTICATION_FAILED);
        }
        answer.set("AuthMethod", method);
        security = account().isPresent() ? Security.ALGORITHM : Security.DONE;
      }
      case ALGORITHM -> {
        String offered = keys.get("CHAP_A").orElse("");
        if (!Arrays.asList(offered.split(",")).contains(Chap.MD5)) {
          throw new Refused(AUTHENTICATION_FAILED);
        }
        chapId = Chap.newIdentifier();
        challenge = Chap.newChallenge();
        answer
            .set("CHAP_A", Chap.MD5)
            .set("CHAP_I", Integer.toString(chapId))
            .set("CHAP_C", Chap.hex(challenge));
        security = Security.RESPONSE;
      }
      case RESPONSE -> {
        Credentials expected = account().orElseThrow(() -> new Refused(AUTHENTICATION_FAILED));
        byte[] given =
            Chap.binary(keys.get("CHAP_R").orElseThrow(() -> new Refused(AUTHENTICATION_FAILED)));
        boolean good =
            keys.get("CHAP_N").orElse("").equals(expected.user())
                && Chap.matches(Chap.response(chapId, expected.secret(), challenge), given);
        if (!good) {
          throw new Refused(AUTHENTICATION_FAILED);
        }
        if (keys.get("CHAP_C").isPresent()) {
          prove(keys, answer);
        }
        security = Security.DONE;
      }
      case DONE -> {}
    }
    return security == Security.DONE;
  }

  /** The initiator wants to know who we are (RFC 7143 section 12.1.3). */
  private void prove(TextKeys keys, TextKeys answer) throws Refused, ProtocolException {
    ServedTarget served = target;
    Credentials own =
        (served == null ? Optional.<Credentials>empty() : served.export.ownAccount())
            .orElseThrow(() -> new Refused(AUTHENTICATION_FAILED));
    byte[] theirs = Chap.binary(keys.get("CHAP_C").orElse(""));
    int id = keys.number("CHAP_I", -1, 0, 255);
    // Our own challenge back would make us say what the initiator should have known.
    if (id < 0 || Arrays.equals(theirs, challenge)) {
      throw new Refused(AUTHENTICATION_FAILED);
    }
    answer
        .set("CHAP_N", own.user())
        .set("CHAP_R", Chap.hex(Chap.response(id, own.secret(), theirs)));
  }

  private static String digest(String offered) throws Refused {
    for (String value : offered.split(",")) {
      if (value.equals("None") || value.equals("CRC32C")) {
        return value;
      }
    }
    throw new Refused(INITIATOR_ERROR);
  }

  private boolean operational(TextKeys keys, TextKeys answer) throws Refused, ProtocolException {
    for (Map.Entry<String, String> pair : keys.asMap().entrySet()) {
      String key = pair.getKey();
      String value = pair.getValue();
      switch (key) {
        case "InitiatorName", "InitiatorAlias", "SessionType", "TargetName", "AuthMethod" -> {}
        case "HeaderDigest" -> {
          answer.set(key, digest(value));
          headerDigest = digest(value).equals("CRC32C");
        }
        case "DataDigest" -> {
          answer.set(key, digest(value));
          dataDigest = digest(value).equals("CRC32C");
        }
        case "MaxRecvDataSegmentLength" -> peerSegment = keys.number(key, 8192, 512, 0xFFFFFF);
        case "MaxBurstLength" -> {
          maxBurst = Math.min(MAX_BURST, keys.number(key, 0, 512, 0xFFFFFF));
          answer.set(key, Integer.toString(maxBurst));
        }
        case "FirstBurstLength" -> {
          firstBurst = Math.min(MAX_SEGMENT, keys.number(key, 0, 512, 0xFFFFFF));
          answer.set(key, Integer.toString(firstBurst));
        }
        case "InitialR2T" -> {
          initialR2t = keys.yes(key, true);
          answer.set(key, initialR2t ? "Yes" : "No");
        }
        case "ImmediateData" -> {
          immediateData = keys.yes(key, true);
          answer.set(key, immediateData ? "Yes" : "No");
        }
        case "MaxConnections", "MaxOutstandingR2T" -> answer.set(key, "1");
        case "DataPDUInOrder", "DataSequenceInOrder" -> answer.set(key, "Yes");
        case "ErrorRecoveryLevel", "DefaultTime2Retain" -> answer.set(key, "0");
        case "DefaultTime2Wait" -> answer.set(key, Integer.toString(keys.number(key, 0, 0, 3600)));
        case "IFMarker", "OFMarker" -> answer.set(key, "No");
        default -> answer.set(key, "NotUnderstood");
      }
    }
    if (!declared) {
      answer.set("MaxRecvDataSegmentLength", Integer.toString(MAX_SEGMENT));
      declared = true;
    }
    return true;
  }
}
