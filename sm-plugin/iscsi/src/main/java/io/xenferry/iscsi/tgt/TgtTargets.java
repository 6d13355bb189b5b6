package io.xenferry.iscsi.tgt;

import io.xenferry.iscsi.IscsiUrl.Credentials;
import io.xenferry.iscsi.target.Acl;
import io.xenferry.iscsi.target.Export;
import io.xenferry.iscsi.target.TargetException;
import io.xenferry.iscsi.target.TargetException.Kind;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Targets in one tgtd: made, found, drained, removed. Stateless: the daemon is the truth. */
final class TgtTargets {
  private static final Pattern TARGET = Pattern.compile("Target (\\d+): (\\S+)");
  private static final Pattern NEXUS = Pattern.compile("\\s+I_T nexus: (\\d+)");
  private static final Pattern CONNECTION = Pattern.compile("\\s+Connection: (\\d+)");
  private static final Pattern ACCOUNT_HEAD = Pattern.compile("\\s{4}Account information:");

  /** Measured: with these a client writes 256 KiB in one PDU, two to four times as fast. */
  private static final Map<String, String> SESSION =
      Map.of(
          "MaxRecvDataSegmentLength", "262144",
          "FirstBurstLength", "262144",
          "MaxBurstLength", "1048576",
          "InitialR2T", "No");

  private final Tgtadm tgtadm;

  TgtTargets(Tgtadm tgtadm) {
    this.tgtadm = tgtadm;
  }

  /**
   * A connection of a session.
   *
   * @param sid session
   * @param cid connection
   */
  record Connection(int sid, int cid) {}

  /**
   * @param sessions including those whose connections are gone but whose commands are not
   * @param rules who may log in: names and addresses
   */
  record Existing(
      int tid,
      String iqn,
      int sessions,
      List<Connection> connections,
      List<String> users,
      List<String> rules) {

    /** Whether anybody may log in: the last thing that is made of a target. */
    boolean isWhole() {
      return !rules.isEmpty();
    }
  }

  /** The parts of what the daemon tells of a target. */
  private enum Part {
    NONE,
    ACCOUNTS,
    RULES
  }

  Map<String, Existing> show() throws TargetException {
    Map<String, Existing> found = new LinkedHashMap<>();
    int tid = 0;
    String iqn = "";
    int sessions = 0;
    int sid = 0;
    Part part = Part.NONE;
    List<Connection> connections = new ArrayList<>();
    List<String> users = new ArrayList<>();
    List<String> rules = new ArrayList<>();
    for (String line : tgtadm.run("--mode", "target", "--op", "show").split("\n")) {
      Matcher target = TARGET.matcher(line);
      Matcher nexus = NEXUS.matcher(line);
      Matcher connection = CONNECTION.matcher(line);
      if (target.matches()) {
        if (!iqn.isEmpty()) {
          found.put(iqn, new Existing(tid, iqn, sessions, connections, users, rules));
        }
        tid = Integer.parseInt(target.group(1));
        iqn = target.group(2);
        sessions = 0;
        connections = new ArrayList<>();
        users = new ArrayList<>();
        rules = new ArrayList<>();
        part = Part.NONE;
      } else if (nexus.matches()) {
        sid = Integer.parseInt(nexus.group(1));
        sessions++;
      } else if (connection.matches()) {
        connections.add(new Connection(sid, Integer.parseInt(connection.group(1))));
      } else if (ACCOUNT_HEAD.matcher(line).matches()) {
        part = Part.ACCOUNTS;
      } else if (line.startsWith("    ACL information:")) {
        part = Part.RULES;
      } else if (part == Part.ACCOUNTS && !line.isBlank()) {
        users.add(line.strip().replaceFirst(" \\(outgoing\\)$", ""));
      } else if (part == Part.RULES && !line.isBlank()) {
        rules.add(line.strip());
      }
    }
    if (!iqn.isEmpty()) {
      found.put(iqn, new Existing(tid, iqn, sessions, connections, users, rules));
    }
    return found;
  }

  /**
   * Creates a target; the access rule comes last, so that nobody logs in to half of one.
   *
   * <p>Each command is a process of its own, so that the last one of a server that is killed may
   * come late. If the target was removed meanwhile, that makes an empty one at most, without a rule
   * and a unit, or an account: all others need the target, and its number is not used again.
   */
  void create(Export export, int tid) throws TargetException {
    if (!(export.backing() instanceof Export.Backing.File file)) {
      throw new TargetException(Kind.INVALID, "tgtd serves files and block devices only");
    }
    if (export.ownAccount().isPresent()) {
      throw new TargetException(Kind.INVALID, "mutual CHAP is for the embedded target");
    }
    String id = Integer.toString(tid);
    String lun = Integer.toString(export.lun());
    tgtadm.run("--mode", "target", "--op", "new", "--tid", id, "--targetname", export.iqn());
    try {
      for (Map.Entry<String, String> parameter : SESSION.entrySet()) {
        tgtadm.run(
            "--mode",
            "target",
            "--op",
            "update",
            "--tid",
            id,
            "--name",
            parameter.getKey(),
            "--value",
            parameter.getValue());
      }
      if (export.account().isPresent()) {
        account(export.account().get(), id);
      }
      tgtadm.run(
          "--mode",
          "logicalunit",
          "--op",
          "new",
          "--tid",
          id,
          "--lun",
          lun,
          "--backing-store",
          file.path().toString(),
          "--bstype",
          "rdwr");
      describe(
          id,
          lun,
          "vendor_id=XENFERRY,product_id=VDI,scsi_id="
              + export.scsiId()
              + ",scsi_sn="
              + export.serial());
      if (export.thin()) {
        describe(id, lun, "thin_provisioning=1");
      }
      if (export.readOnly()) {
        describe(id, lun, "readonly=1");
      }
      switch (export.acl()) {
        case Acl.ByAddress by -> bind(id, "--initiator-address", by.network());
        case Acl.ByName by -> bind(id, "--initiator-name", by.initiator());
        case Acl.Everybody all -> bind(id, "--initiator-address", "ALL");
      }
    } catch (TargetException e) {
      try {
        remove(export.iqn(), Duration.ofSeconds(5));
      } catch (TargetException again) {
        e.addSuppressed(again);
      }
      throw e;
    }
  }

  private void describe(String tid, String lun, String parameters) throws TargetException {
    tgtadm.run(
        "--mode",
        "logicalunit",
        "--op",
        "update",
        "--tid",
        tid,
        "--lun",
        lun,
        "--params",
        parameters);
  }

  private void bind(String tid, String how, String whom) throws TargetException {
    tgtadm.run("--mode", "target", "--op", "bind", "--tid", tid, how, whom);
  }

  private void account(Credentials account, String tid) throws TargetException {
    // What an earlier life left behind has another secret.
    forget(account.user());
    tgtadm.run(
        "--mode",
        "account",
        "--op",
        "new",
        "--user",
        account.user(),
        "--password",
        account.secret());
    tgtadm.run("--mode", "account", "--op", "bind", "--tid", tid, "--user", account.user());
  }

  /** Who may log in to any target. */
  List<String> accounts() throws TargetException {
    return tgtadm
        .run("--mode", "account", "--op", "show")
        .lines()
        .filter(line -> line.startsWith(" ") && !line.isBlank())
        .map(String::strip)
        .toList();
  }

  void forget(String user) throws TargetException {
    try {
      tgtadm.run("--mode", "account", "--op", "delete", "--user", user);
    } catch (TargetException e) {
      if (e.kind() != Kind.NOT_FOUND) {
        throw e;
      }
    }
  }

  /**
   * Takes a target away once nothing of any session is under way.
   *
   * <ol>
   *   <li>Its access rules go, so that nobody new comes.
   *   <li>Its connections are closed. A session disappears from the daemon's list only when its
   *       last command has ended, so an empty list is the fence.
   *   <li>Then its accounts, the unit, which closes the backing file, and the target.
   * </ol>
   *
   * <p>A guest may be standing still for it: each call of tgtadm is a process of some milliseconds.
   */
  void remove(String iqn, Duration patience) throws TargetException {
    long deadline = System.nanoTime() + patience.toNanos();
    for (int look = 0; ; look++) {
      Existing target = show().get(iqn);
      if (target == null) {
        return;
      }
      String tid = Integer.toString(target.tid());
      for (String rule : target.rules()) {
        unbind(tid, rule);
      }
      for (Connection connection : target.connections()) {
        quietly(
            "--mode",
            "conn",
            "--op",
            "delete",
            "--tid",
            tid,
            "--sid",
            Integer.toString(connection.sid()),
            "--cid",
            Integer.toString(connection.cid()));
      }
      if (target.sessions() == 0) {
        try {
          // Whoever is killed in between finds the target once more, and not what was its account.
          for (String user : target.users()) {
            forget(user);
          }
          tgtadm.run("--mode", "target", "--op", "delete", "--tid", tid);
          return;
        } catch (TargetException e) {
          if (e.kind() != Kind.ACTIVE) {
            throw e;
          }
        }
      }
      if (System.nanoTime() - deadline > 0) {
        throw new TargetException(
            Kind.TIMEOUT,
            "sessions of " + iqn + " do not end within " + patience.toMillis() + " ms");
      }
      try {
        // A session without a command under way is gone as soon as its connection is.
        TimeUnit.MILLISECONDS.sleep(look == 0 ? 0 : 10);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new TargetException(Kind.TIMEOUT, "interrupted while closing " + iqn, e);
      }
    }
  }

  private void unbind(String tid, String rule) throws TargetException {
    boolean name = rule.startsWith("iqn.") || rule.startsWith("eui.") || rule.startsWith("naa.");
    quietly(
        "--mode",
        "target",
        "--op",
        "unbind",
        "--tid",
        tid,
        name ? "--initiator-name" : "--initiator-address",
        rule);
  }

  /** For what may be gone by itself meanwhile. */
  private void quietly(String... arguments) throws TargetException {
    try {
      tgtadm.run(arguments);
    } catch (TargetException e) {
      if (e.kind() == Kind.DOWN || e.kind() == Kind.TIMEOUT) {
        throw e;
      }
    }
  }
}
