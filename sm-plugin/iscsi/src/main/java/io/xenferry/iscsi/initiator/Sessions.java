package io.xenferry.iscsi.initiator;

import io.xenferry.block.BlockException;
import io.xenferry.block.BlockException.Kind;
import io.xenferry.block.LinkTimes;
import io.xenferry.iscsi.IscsiUrl;
import io.xenferry.iscsi.initiator.Command.Direction;
import io.xenferry.iscsi.net.EventLoop;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The sessions of one disk: each an I_T nexus of its own (RFC 7143 section 4.4.3), with an ISID, a
 * connection and a thread.
 *
 * <ol>
 *   <li>A command goes to the session with the fewest bytes under way.
 *   <li>Nothing is ordered between sessions, as nothing is between commands of one: who needs an
 *       order waits for the end of the first. SYNCHRONIZE CACHE is the unit's, not the nexus's
 *       (SBC-3 section 5.26): through any session it covers what has completed through all.
 *   <li>A target that lost completed writes tells each nexus of the reset before it does anything
 *       else for it, so no flush can slip through beside it. When one session dies, all do, with
 *       its reason: what it knows is true of the disk.
 *   <li>The end is certain once it is for each: one session's reset says nothing of data that is
 *       still on another's connection.
 * </ol>
 *
 * Thread-safe.
 */
final class Sessions {
  private static final Logger log = LoggerFactory.getLogger(Sessions.class);

  /** A session, and whether it is certain that nothing of it is under way any more. */
  private static final class Line {
    final EventLoop loop;
    final long isid;
    final Session session;
    final DiskProbe.Findings findings;
    volatile boolean fenced;

    Line(EventLoop loop, long isid, Session session, DiskProbe.Findings findings) {
      this.loop = loop;
      this.isid = isid;
      this.session = session;
      this.findings = findings;
    }

    void end() {
      session.drop();
      loop.close();
    }
  }

  private final IscsiUrl url;
  private final IscsiOptions options;
  private final List<Line> lines;
  private final Session[] sessions;

  private Sessions(IscsiUrl url, IscsiOptions options, List<Line> lines) {
    this.url = url;
    this.options = options;
    this.lines = List.copyOf(lines);
    this.sessions = lines.stream().map(line -> line.session).toArray(Session[]::new);
    for (Line line : lines) {
      line.session.onDeath(reason -> {
        for (Session other : sessions) {
          other.kill(reason);
        }
      });
    }
  }

  /**
   * Logs in as often as the options say, and looks at the unit through each session, which must all
   * find the same. A target that admits one and refuses more is served by those it admits.
   */
  static Sessions open(IscsiUrl url, IscsiOptions options) throws BlockException {
    List<Line> lines = new ArrayList<>();
    lines.add(login(url, options));
    try {
      while (lines.size() < options.sessions()) {
        lines.add(login(url, options));
        if (!lines.getLast().findings.equals(lines.getFirst().findings)) {
          throw new BlockException(Kind.PROTOCOL, url + ": another disk in another session");
        }
      }
    } catch (BlockException | RuntimeException e) {
      if (!(e instanceof BlockException refused) || refused.kind() != Kind.ACCESS) {
        lines.forEach(Line::end);
        throw e;
      }
      log.info("{}: {} sessions, and no more: {}", url, lines.size(), e.getMessage());
    }
    return new Sessions(url, options, lines);
  }

  private static Line login(IscsiUrl url, IscsiOptions options) throws BlockException {
    EventLoop loop = loop(url);
    try {
      long isid = IscsiInitiator.newIsid();
      Session session = IscsiInitiator.login(url, options, loop, isid);
      try {
        DiskProbe.Findings findings = new DiskProbe(session, options, url.toString()).run();
        session.probed();
        return new Line(loop, isid, session, findings);
      } catch (BlockException | RuntimeException e) {
        session.drop();
        throw e;
      }
    } catch (BlockException | RuntimeException e) {
      loop.close();
      throw e;
    }
  }

  private static EventLoop loop(IscsiUrl url) throws BlockException {
    try {
      return new EventLoop("iscsi " + url.host() + " " + url.iqn());
    } catch (IOException e) {
      throw new BlockException(Kind.IO, "cannot start an event loop", e);
    }
  }

  DiskProbe.Findings findings() {
    return lines.getFirst().findings;
  }

  int count() {
    return sessions.length;
  }

  /** See {@link Session#submit}. */
  CompletableFuture<Integer> submit(
      byte[] cdb, Direction direction, @Nullable ByteBuffer data, boolean changes, boolean whole) {
    return leastLoaded().submit(cdb, direction, data, changes, whole);
  }

  /** See {@link Session#transfer}. */
  CompletableFuture<Void> transfer(
      byte[] cdb, Direction direction, @Nullable ByteBuffer data, boolean changes, boolean whole) {
    return leastLoaded().transfer(cdb, direction, data, changes, whole);
  }

  private Session leastLoaded() {
    Session least = sessions[0];
    for (int i = 1; i < sessions.length; i++) {
      if (sessions[i].load() < least.load()) {
        least = sessions[i];
      }
    }
    return least;
  }

  LinkTimes linkTimes() {
    return Arrays.stream(sessions).map(Session::linkTimes).reduce(LinkTimes.NONE, LinkTimes::plus);
  }

  /** Why the disk is dead; null while it lives. */
  @Nullable BlockException failure() {
    for (Session session : sessions) {
      BlockException failure = session.failure();
      if (failure != null) {
        return failure;
      }
    }
    return null;
  }

  boolean inLoop() {
    return lines.stream().anyMatch(line -> line.loop.inLoop());
  }

  /**
   * Ends all sessions, each with its fence, at the same time. Blocks as {@link Fence#raise} does.
   *
   * @return whether it is certain that nothing of this disk's can change the medium any more
   */
  boolean end() {
    forEach(line ->
        new Fence(line.session, options, url.toString()).raise(() -> replacement(line, line.loop)));
    lines.forEach(Line::end);
    return fenced();
  }

  /** Once more for those sessions for which it was not certain. Blocks. */
  boolean fenceAgain() {
    forEach(line -> {
      EventLoop its;
      try {
        its = loop(url);
      } catch (BlockException e) {
        log.warn("{}: cannot fence", url, e);
        return false;
      }
      try {
        return new Fence(line.session, options, url.toString())
            .through(() -> replacement(line, its));
      } finally {
        its.close();
      }
    });
    return fenced();
  }

  private boolean fenced() {
    return lines.stream().allMatch(line -> line.fenced);
  }

  private interface Step {
    boolean certain(Line line);
  }

  private void forEach(Step step) {
    List<Thread> threads = new ArrayList<>();
    for (Line line : lines) {
      if (!line.fenced) {
        threads.add(
            Thread.ofVirtual().name("iscsi fence").start(() -> line.fenced = step.certain(line)));
      }
    }
    try {
      for (Thread thread : threads) {
        thread.join();
      }
    } catch (InterruptedException e) {
      // Those that are not done by now do not count as certain.
      Thread.currentThread().interrupt();
    }
  }

  /** Session reinstatement (RFC 7143 section 6.3.5): the same name and ISID end the old session. */
  private Session replacement(Line line, EventLoop on) throws BlockException {
    return IscsiInitiator.login(
        url, options.withLoginTimeout(options.closeTimeout()), on, line.isid);
  }
}
