package io.xenferry.server.vm;

import io.xenferry.model.XenApiException;
import io.xenferry.spi.Guest;
import io.xenferry.spi.GuestAgent;
import io.xenferry.spi.HypervisorException;
import java.time.Duration;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Asks the agents of guests now and then, and {@link AgentRecords} keeps the answers. A guest
 * without an agent costs one question to its hypervisor each time. A few are asked at once, each in
 * a thread that lives as long as the question; so guests that stall delay others by their deadline
 * at most.
 */
public final class AgentWatch implements AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(AgentWatch.class);

  private static final int AT_ONCE = 4;

  /**
   * @param early between two questions to a guest that was found, or began, a short time ago
   * @param young how long that is: systems boot and get their addresses meanwhile
   * @param later between two questions from then on
   * @param deadline of one
   */
  public record Pace(Duration early, Duration young, Duration later, Duration deadline) {
    public static Pace defaults() {
      return new Pace(
          Duration.ofSeconds(10),
          Duration.ofMinutes(3),
          Duration.ofSeconds(45),
          Duration.ofSeconds(10));
    }
  }

  private final AgentRecords records;
  private final Pace pace;
  private final Map<UUID, Followed> followed = new ConcurrentHashMap<>();
  private final Semaphore places = new Semaphore(AT_ONCE);
  private final ScheduledThreadPoolExecutor scheduler;

  private record Followed(Guest guest, GuestAgent agent, long since, AtomicBoolean asking) {}

  public AgentWatch(AgentRecords records, Pace pace) {
    this.records = records;
    this.pace = pace;
    // It only starts others; the thread ends with the last guest.
    this.scheduler =
        new ScheduledThreadPoolExecutor(1, Thread.ofVirtual().name("agents").factory());
    scheduler.setRemoveOnCancelPolicy(true);
    scheduler.setExecuteExistingDelayedTasksAfterShutdownPolicy(false);
  }

  /** Asks the guest from now on, until it is gone. */
  public void follow(Guest guest) {
    guest
        .agent()
        .ifPresent(agent -> {
          Followed one = new Followed(guest, agent, System.nanoTime(), new AtomicBoolean());
          followed.put(guest.vm(), one);
          guest.onChange(state -> {
            if (state == Guest.State.GONE) {
              followed.remove(guest.vm(), one);
            }
          });
          agent.onChange(() -> start(one, false));
          start(one, true);
        });
  }

  /**
   * @param again whether it is to be asked again later because of this
   */
  private void start(Followed one, boolean again) {
    if (isFollowed(one)) {
      Thread.ofVirtual().name("agent of " + one.guest().vm()).start(() -> ask(one, again));
    }
  }

  private boolean isFollowed(Followed one) {
    return followed.get(one.guest().vm()) == one && !scheduler.isShutdown();
  }

  private void ask(Followed one, boolean again) {
    try {
      if (one.asking().compareAndSet(false, true)) {
        try {
          places.acquire();
          try {
            look(one);
          } finally {
            places.release();
          }
        } finally {
          one.asking().set(false);
        }
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return;
    } finally {
      if (again && isFollowed(one)) {
        later(one);
      }
    }
  }

  private void later(Followed one) {
    boolean young = System.nanoTime() - one.since() < pace.young().toNanos();
    Duration pause = young ? pace.early() : pace.later();
    try {
      var unused =
          scheduler.schedule(() -> start(one, true), pause.toNanos(), TimeUnit.NANOSECONDS);
    } catch (RejectedExecutionException e) {
      log.debug("the server ends", e);
    }
  }

  private void look(Followed one) throws InterruptedException {
    UUID vm = one.guest().vm();
    try {
      // One that stands still has nothing to say, and has not fallen silent either.
      if (one.guest().state() == Guest.State.RUNNING) {
        if (one.agent().present()) {
          records.answered(vm, one.agent().ask(pace.deadline()));
        } else {
          records.silent(vm);
        }
      }
    } catch (HypervisorException e) {
      log.debug("the agent of VM {}", vm, e);
      silent(one);
    } catch (XenApiException | RuntimeException e) {
      // The next answer may do better; nothing but what is shown of the guest depends on it.
      log.warn("what the agent of VM {} says is not recorded", vm, e);
    }
  }

  private void silent(Followed one) throws InterruptedException {
    UUID vm = one.guest().vm();
    try {
      if (one.guest().state() == Guest.State.RUNNING) {
        records.silent(vm);
      }
    } catch (HypervisorException | XenApiException e) {
      log.debug("VM {} is gone, or cannot be asked", vm, e);
    }
  }

  @Override
  public void close() {
    scheduler.shutdownNow();
    followed.clear();
  }
}
