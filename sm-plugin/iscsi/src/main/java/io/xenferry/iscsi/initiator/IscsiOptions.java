package io.xenferry.iscsi.initiator;

import io.xenferry.iscsi.IscsiUrl;
import java.time.Duration;
import java.util.Optional;
import java.util.function.Consumer;

/**
 * What an initiator offers and how long it waits. {@link #defaults()} gives the values with their
 * reasons; the {@code with…} methods change one.
 *
 * @param initiatorName the iSCSI name that ACLs by name see
 * @param targetAccount when present the target must prove that it knows this account's secret
 *     (mutual CHAP)
 * @param connectTimeout for the TCP connection
 * @param loginTimeout for the whole login after that, whatever the peer does
 * @param commandTimeout from the moment a command and its data have been sent; when it passes the
 *     session is dead
 * @param keepAlive silence after which the peer is asked whether it lives; its answer has as long
 * @param busyPatience how long BUSY and TASK SET FULL are answered with a later attempt
 * @param closeTimeout how long close waits for commands in flight, and for each step of the fence
 * @param sessions to one disk, 1–16, each with a connection and a thread; a target may admit fewer
 * @param queueDepth commands in flight of a session, 1–512; the target's window may allow fewer
 * @param maxTransfer bytes of the largest read or write
 * @param maxSegment bytes of the largest data segment that we accept
 * @param digests whether the target must agree to CRC32C over headers and data
 */
public record IscsiOptions(
    String initiatorName,
    Optional<IscsiUrl.Credentials> targetAccount,
    Duration connectTimeout,
    Duration loginTimeout,
    Duration commandTimeout,
    Duration keepAlive,
    Duration busyPatience,
    Duration closeTimeout,
    int sessions,
    int queueDepth,
    int maxTransfer,
    int maxSegment,
    boolean digests) {

  public IscsiOptions {
    if (sessions < 1 || sessions > 16) {
      throw new IllegalArgumentException(sessions + " sessions");
    }
    if (queueDepth < 1 || queueDepth > 512 || maxTransfer < 512 || maxSegment < 512) {
      throw new IllegalArgumentException("queue depth, transfer or segment out of range");
    }
    if (maxSegment >= 1 << 24 || maxTransfer > 1 << 26) {
      throw new IllegalArgumentException("transfer or segment too large");
    }
  }

  /**
   * 256 KiB segments and transfers up to 1 MiB: measured best with 8 or more in flight. 30 s for a
   * command outlives a target's fsync on a busy disk; 5 s of silence is the heartbeat's measure.
   */
  public static IscsiOptions defaults() {
    return new IscsiOptions(
        "iqn.2026-01.io.xenferry:initiator",
        Optional.empty(),
        Duration.ofSeconds(10),
        Duration.ofSeconds(10),
        Duration.ofSeconds(30),
        Duration.ofSeconds(5),
        Duration.ofSeconds(10),
        Duration.ofSeconds(5),
        1,
        128,
        1024 * 1024,
        256 * 1024,
        false);
  }

  public IscsiOptions withInitiatorName(String name) {
    return change(c -> c.initiatorName = name);
  }

  public IscsiOptions withTargetAccount(IscsiUrl.Credentials account) {
    return change(c -> c.targetAccount = Optional.of(account));
  }

  /** Connect and login. */
  public IscsiOptions withLoginTimeout(Duration timeout) {
    return change(c -> {
      c.connectTimeout = timeout;
      c.loginTimeout = timeout;
    });
  }

  public IscsiOptions withCommandTimeout(Duration timeout) {
    return change(c -> c.commandTimeout = timeout);
  }

  public IscsiOptions withKeepAlive(Duration silence) {
    return change(c -> c.keepAlive = silence);
  }

  public IscsiOptions withBusyPatience(Duration patience) {
    return change(c -> c.busyPatience = patience);
  }

  public IscsiOptions withCloseTimeout(Duration timeout) {
    return change(c -> c.closeTimeout = timeout);
  }

  public IscsiOptions withSessions(int count) {
    return change(c -> c.sessions = count);
  }

  public IscsiOptions withQueueDepth(int depth) {
    return change(c -> c.queueDepth = depth);
  }

  public IscsiOptions withMaxTransfer(int bytes) {
    return change(c -> c.maxTransfer = bytes);
  }

  public IscsiOptions withDigests() {
    return change(c -> c.digests = true);
  }

  private IscsiOptions change(Consumer<Changed> change) {
    Changed changed = new Changed(this);
    change.accept(changed);
    return new IscsiOptions(
        changed.initiatorName,
        changed.targetAccount,
        changed.connectTimeout,
        changed.loginTimeout,
        changed.commandTimeout,
        changed.keepAlive,
        changed.busyPatience,
        changed.closeTimeout,
        changed.sessions,
        changed.queueDepth,
        changed.maxTransfer,
        maxSegment,
        changed.digests);
  }

  /** The values that have a {@code with…} method. */
  private static final class Changed {
    String initiatorName;
    Optional<IscsiUrl.Credentials> targetAccount;
    Duration connectTimeout;
    Duration loginTimeout;
    Duration commandTimeout;
    Duration keepAlive;
    Duration busyPatience;
    Duration closeTimeout;
    int sessions;
    int queueDepth;
    int maxTransfer;
    boolean digests;

    Changed(IscsiOptions from) {
      initiatorName = from.initiatorName;
      targetAccount = from.targetAccount;
      connectTimeout = from.connectTimeout;
      loginTimeout = from.loginTimeout;
      commandTimeout = from.commandTimeout;
      keepAlive = from.keepAlive;
      busyPatience = from.busyPatience;
      closeTimeout = from.closeTimeout;
      sessions = from.sessions;
      queueDepth = from.queueDepth;
      maxTransfer = from.maxTransfer;
      digests = from.digests;
    }
  }
}
