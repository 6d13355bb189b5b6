package io.xenferry.iscsi.initiator;

import io.xenferry.block.BlockException;
import io.xenferry.block.BlockException.Kind;
import io.xenferry.iscsi.IscsiUrl;
import io.xenferry.iscsi.net.EventLoop;
import io.xenferry.iscsi.pdu.Pdu;
import io.xenferry.iscsi.pdu.ProtocolException;
import io.xenferry.iscsi.pdu.TextKeys;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ThreadLocalRandom;

/**
 * Logs in to iSCSI targets. All methods block up to the options' deadlines and may be called from
 * any thread, best a virtual one.
 */
public final class IscsiInitiator {
  private IscsiInitiator() {}

  /**
   * Opens a logical unit: login, then a look at the disk (which takes the power-on unit attention
   * of the login), so that any later reset is a real one.
   *
   * @throws BlockException ACCESS when the target refuses, LOST or TIMEOUT when there is none,
   *     PROTOCOL when it is not one; IO when the unit is no disk
   */
  public static IscsiDisk connect(IscsiUrl url, IscsiOptions options) throws BlockException {
    return IscsiDisk.open(url, options);
  }

  /**
   * A target as discovery names it.
   *
   * @param addresses as "host:port,group"
   */
  public record Discovered(String iqn, List<String> addresses) {}

  /** SendTargets=All (RFC 7143 appendix C). */
  public static List<Discovered> discover(
      String host, int port, Optional<IscsiUrl.Credentials> account, IscsiOptions options)
      throws BlockException {
    try (LoginConnection connection = new LoginConnection(host, port, options)) {
      SessionParameters session =
          new Login(connection, options, account, Optional.empty(), newIsid()).run();
      ByteArrayOutputStream text = new ByteArrayOutputStream();
      int ttt = Pdu.NO_TAG;
      int cmdSn = session.cmdSn();
      int expStatSn = session.expStatSn();
      TextKeys ask = new TextKeys().set("SendTargets", "All");
      for (int round = 0; round < 1024; round++) {
        connection.send(
            new Pdu.TextRequest(false, true, false, 0, 1, ttt, cmdSn++, expStatSn), ask);
        LoginConnection.Received received = connection.receive();
        if (!(received.pdu() instanceof Pdu.TextResponse response)) {
          throw new BlockException(Kind.PROTOCOL, "no text response to SendTargets");
        }
        byte[] bytes = new byte[received.data().remaining()];
        received.data().get(bytes);
        text.writeBytes(bytes);
        if (text.size() > 4 * 1024 * 1024) {
          throw new BlockException(Kind.PROTOCOL, "an endless list of targets");
        }
        expStatSn = response.sn().statSn() + 1;
        ttt = response.ttt();
        ask = new TextKeys();
        if (response.last()) {
          connection.send(new Pdu.LogoutRequest(true, 0, 2, 0, cmdSn, expStatSn), new TextKeys());
          return targets(text.toByteArray());
        }
      }
      throw new BlockException(Kind.PROTOCOL, "an endless list of targets");
    } catch (ProtocolException e) {
      throw new BlockException(Kind.PROTOCOL, "discovery: " + e.getMessage(), e);
    }
  }

  /**
   * Looks at every logical unit of a target, in one session: REPORT LUNS, then what each tells of
   * itself, all asked at once. A unit that goes meanwhile is left out; one that will not say
   * something is listed without it.
   *
   * @param target its LUN does not count
   * @return by rising LUN, units that are no disks too, at most {@link UnitSurvey#MOST}
   * @throws BlockException ACCESS when the target refuses, LOST or TIMEOUT when there is none,
   *     PROTOCOL when it is not one
   */
  public static List<LogicalUnit> units(IscsiUrl target, IscsiOptions options)
      throws BlockException {
    try (EventLoop loop = new EventLoop("iscsi " + target.host() + " " + target.iqn())) {
      Session session = login(target, options, loop, newIsid());
      try {
        List<LogicalUnit> units = new UnitSurvey(session, options, target.toString()).run();
        try {
          Waiting.await(session.logout(), options.closeTimeout(), target.toString());
        } catch (BlockException e) {
          // What was to be seen has been seen; the connection is closed in any case.
        }
        return units;
      } finally {
        session.drop();
      }
    } catch (IOException e) {
      if (e instanceof BlockException block) {
        throw block;
      }
      throw new BlockException(Kind.IO, "cannot start an event loop", e);
    }
  }

  private static List<Discovered> targets(byte[] text) throws ProtocolException {
    List<Discovered> found = new ArrayList<>();
    int start = 0;
    // In pieces, since a list of targets may be longer than one negotiation's text.
    for (int at = 0; at < text.length; at++) {
      if (text[at] != 0) {
        continue;
      }
      for (Map.Entry<String, String> pair :
          TextKeys.parseList(ByteBuffer.wrap(text, start, at - start).slice())) {
        if (pair.getKey().equals("TargetName")) {
          found.add(new Discovered(pair.getValue(), new ArrayList<>()));
        } else if (pair.getKey().equals("TargetAddress") && !found.isEmpty()) {
          found.getLast().addresses().add(pair.getValue());
        }
      }
      start = at + 1;
    }
    return found;
  }

  /** A random session id of RFC 7143's "random" format. */
  static long newIsid() {
    return 0x800000000000L | ThreadLocalRandom.current().nextLong(1L << 40);
  }

  /** Logs in and puts the session on the loop. */
  static Session login(IscsiUrl url, IscsiOptions options, EventLoop loop, long isid)
      throws BlockException {
    SocketChannel socket;
    SessionParameters parameters;
    try (LoginConnection connection = new LoginConnection(url.host(), url.port(), options)) {
      parameters =
          new Login(connection, options, url.credentials(), Optional.of(url.iqn()), isid).run();
      socket = connection.handOver();
    }
    CompletableFuture<Session> session = new CompletableFuture<>();
    loop.execute(() -> {
      try {
        session.complete(
            new Session(loop, socket, parameters, options, lun(url.lun()), url.toString()));
      } catch (IOException | RuntimeException e) {
        session.completeExceptionally(e);
      }
    });
    return Waiting.await(session, options.loginTimeout(), url.toString());
  }

  /** SAM-5 section 4.7: peripheral addressing below 256, flat above. */
  static long lun(int number) {
    return number < 256 ? (long) number << 48 : (0x4000L | number) << 48;
  }
}
