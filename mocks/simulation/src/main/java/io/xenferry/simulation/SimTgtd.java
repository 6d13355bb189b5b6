package io.xenferry.simulation;

import io.xenferry.iscsi.target.TargetException;
import io.xenferry.iscsi.target.TargetException.Kind;
import io.xenferry.iscsi.tgt.Tgtadm;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Predicate;
import java.util.stream.Collectors;

/**
 * A host's tgtd, as tgtadm(8) shows and changes it: it outlives servers, and loses all it has when
 * it ends. Sessions have no command under way for any time, so that they end when their connection
 * is closed.
 */
final class SimTgtd implements Tgtadm {
  private static final class Target {
    final String iqn;
    final Set<String> users = new LinkedHashSet<>();
    final Set<String> rules = new LinkedHashSet<>();

    /** What is behind each unit. */
    final Map<String, String> units = new TreeMap<>();

    final Map<Integer, Session> sessions = new TreeMap<>();

    Target(String iqn) {
      this.iqn = iqn;
    }

    boolean isReachable() {
      return !rules.isEmpty() || !sessions.isEmpty();
    }
  }

  /** An initiator that has logged in. */
  static final class Session {
    private final String backing;
    private boolean open = true;

    private Session(String backing) {
      this.backing = backing;
    }

    /** What is behind the unit. */
    String backing() {
      return backing;
    }

    boolean isOpen() {
      return open;
    }
  }

  private final Predicate<String> backings;
  private final Runnable changed;
  private final Map<Integer, Target> targets = new TreeMap<>();
  private final Set<String> accounts = new TreeSet<>();
  private int sessions;
  private int life;
  private boolean up;

  /**
   * @param backings whether there is such a file to put behind a unit
   * @param changed told after each change
   */
  SimTgtd(Predicate<String> backings, Runnable changed) {
    this.backings = backings;
    this.changed = changed;
  }

  /**
   * Starts it, unless it is there.
   *
   * @return which of its lives this is
   */
  int start() {
    if (!up) {
      up = true;
      life++;
    }
    return life;
  }

  boolean lives(int which) {
    return up && life == which;
  }

  /** It ends, with all that it had. */
  void die() {
    up = false;
    targets.values().forEach(SimTgtd::disconnect);
    targets.clear();
    accounts.clear();
    changed.run();
  }

  private static void disconnect(Target target) {
    target.sessions.values().forEach(session -> session.open = false);
    target.sessions.clear();
  }

  /** Logs in to a target's first unit, as one who has its account; empty where nobody can. */
  Optional<Session> login(String iqn) {
    Optional<Target> found =
        targets.values().stream()
            .filter(target -> target.iqn.equals(iqn))
            .filter(target -> !target.rules.isEmpty() && !target.units.isEmpty())
            .filter(target -> !target.users.isEmpty() && accounts.containsAll(target.users))
            .findFirst();
    return found.map(target -> {
      Session session = new Session(target.units.values().iterator().next());
      sessions++;
      target.sessions.put(sessions, session);
      return session;
    });
  }

  /** What is behind the units that somebody can reach, or may reach when he logs in. */
  Set<String> reachable() {
    return targets.values().stream()
        .filter(Target::isReachable)
        .flatMap(target -> target.units.values().stream())
        .collect(Collectors.toSet());
  }

  /** Targets that somebody may log in to, by name. */
  Set<String> whole() {
    return names(target -> !target.rules.isEmpty());
  }

  /** Targets that nobody may log in to, by name. */
  Set<String> half() {
    return names(target -> target.rules.isEmpty());
  }

  private Set<String> names(Predicate<Target> which) {
    return targets.values().stream()
        .filter(which)
        .map(target -> target.iqn)
        .collect(Collectors.toCollection(TreeSet::new));
  }

  Set<String> accounts() {
    return accounts;
  }

  @Override
  public String run(String... arguments) throws TargetException {
    if (!up) {
      throw new TargetException(Kind.DOWN, "there is no tgtd");
    }
    Map<String, String> options = new HashMap<>();
    for (int i = 0; i < arguments.length; i += 2) {
      options.put(arguments[i], arguments[i + 1]);
    }
    String printed = "";
    switch (option(options, "--mode") + " " + option(options, "--op")) {
      case "target show" -> printed = showTargets();
      case "account show" -> printed = showAccounts();
      case "target new" -> newTarget(options);
      case "target update" -> target(options);
      case "target bind" -> {
        if (!target(options).rules.add(rule(options))) {
          throw new TargetException(Kind.EXISTS, "this access control rule already exists");
        }
      }
      case "target unbind" -> {
        if (!target(options).rules.remove(rule(options))) {
          throw new TargetException(Kind.NOT_FOUND, "this access control rule does not exist");
        }
      }
      case "target delete" -> {
        if (!target(options).sessions.isEmpty()) {
          throw new TargetException(Kind.ACTIVE, "this target is still active");
        }
        targets.remove(number(options, "--tid"));
      }
      case "conn delete" -> {
        Session session = target(options).sessions.remove(number(options, "--sid"));
        if (session == null) {
          throw new TargetException(Kind.NOT_FOUND, "can't find the session");
        }
        session.open = false;
      }
      case "account new" -> {
        if (!accounts.add(option(options, "--user"))) {
          throw new TargetException(Kind.EXISTS, "this account already exists");
        }
      }
      case "account bind" -> bindAccount(options);
      case "account delete" -> {
        String user = option(options, "--user");
        if (!accounts.remove(user)) {
          throw new TargetException(Kind.NOT_FOUND, "can't find the account");
        }
        targets.values().forEach(target -> target.users.remove(user));
      }
      case "logicalunit new" -> newUnit(options);
      case "logicalunit update" -> {
        if (!target(options).units.containsKey(option(options, "--lun"))) {
          throw new TargetException(Kind.NOT_FOUND, "can't find the logical unit");
        }
      }
      default -> throw new TargetException(Kind.INVALID, String.join(" ", arguments));
    }
    changed.run();
    return printed;
  }

  private void newTarget(Map<String, String> options) throws TargetException {
    String iqn = option(options, "--targetname");
    int tid = number(options, "--tid");
    if (targets.containsKey(tid) || targets.values().stream().anyMatch(t -> t.iqn.equals(iqn))) {
      throw new TargetException(Kind.EXISTS, "this target already exists");
    }
    targets.put(tid, new Target(iqn));
  }

  private void bindAccount(Map<String, String> options) throws TargetException {
    String user = option(options, "--user");
    Target target = target(options);
    if (!accounts.contains(user)) {
      throw new TargetException(Kind.NOT_FOUND, "can't find the account");
    }
    if (!target.users.add(user)) {
      throw new TargetException(Kind.EXISTS, "this account already exists");
    }
  }

  private void newUnit(Map<String, String> options) throws TargetException {
    Target target = target(options);
    String backing = option(options, "--backing-store");
    String lun = option(options, "--lun");
    if (target.units.containsKey(lun)) {
      throw new TargetException(Kind.EXISTS, "this logical unit number already exists");
    }
    if (!backings.test(backing)) {
      throw new TargetException(Kind.INVALID, "invalid request");
    }
    target.units.put(lun, backing);
  }

  private Target target(Map<String, String> options) throws TargetException {
    Target target = targets.get(number(options, "--tid"));
    if (target == null) {
      throw new TargetException(Kind.NOT_FOUND, "can't find the target");
    }
    return target;
  }

  private static String rule(Map<String, String> options) throws TargetException {
    return options.containsKey("--initiator-name")
        ? option(options, "--initiator-name")
        : option(options, "--initiator-address");
  }

  private static String option(Map<String, String> options, String name) throws TargetException {
    String value = options.get(name);
    if (value == null) {
      throw new TargetException(Kind.INVALID, "no " + name);
    }
    return value;
  }

  private static int number(Map<String, String> options, String name) throws TargetException {
    return Integer.parseInt(option(options, name));
  }

  private String showTargets() {
    List<String> lines = new ArrayList<>();
    targets.forEach((tid, target) -> {
      lines.add("Target " + tid + ": " + target.iqn);
      lines.add("    I_T nexus information:");
      target
          .sessions
          .keySet()
          .forEach(sid -> {
            lines.add("        I_T nexus: " + sid);
            lines.add("            Connection: 0");
          });
      lines.add("    LUN information:");
      target.units.forEach((lun, backing) -> {
        lines.add("        LUN: " + lun);
        lines.add("            Backing store path: " + backing);
      });
      lines.add("    Account information:");
      target.users.forEach(user -> lines.add("        " + user));
      lines.add("    ACL information:");
      target.rules.forEach(rule -> lines.add("        " + rule));
    });
    return lines.stream().map(line -> line + "\n").collect(Collectors.joining());
  }

  private String showAccounts() {
    return accounts.isEmpty()
        ? ""
        : accounts.stream()
            .map(user -> "    " + user + "\n")
            .collect(Collectors.joining("", "Account list:\n", ""));
  }
}
