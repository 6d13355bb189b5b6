package io.xenferry.server.migration;

import io.xenferry.migration.ports.GuestState;
import io.xenferry.spi.Guest;
import io.xenferry.spi.Hypervisor;
import io.xenferry.spi.HypervisorException;
import java.io.IOException;
import java.time.Duration;
import java.util.EnumSet;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;

/** What both sides ask of a guest; blocking. */
final class GuestCalls {
  /**
   * Between two looks at a guest that is expected to change its state and has told of no change: a
   * guest tells of most, and mostly before.
   */
  private static final Duration LOOK = Duration.ofMillis(10);

  private final Hypervisor hypervisor;

  GuestCalls(Hypervisor hypervisor) {
    this.hypervisor = hypervisor;
  }

  Optional<Guest> find(UUID vm) throws HypervisorException, InterruptedException {
    return hypervisor.find(vm);
  }

  Guest get(UUID vm) throws HypervisorException, InterruptedException {
    return find(vm)
        .orElseThrow(() ->
            new HypervisorException(
                HypervisorException.Kind.GONE, "the guest of VM " + vm + " is gone"));
  }

  GuestState observe(UUID vm) throws HypervisorException, InterruptedException {
    Optional<Guest> guest = find(vm);
    return guest.isEmpty() ? GuestState.GONE : seen(guest.get().state());
  }

  /** For a move, one that has crashed has ended. */
  static GuestState seen(Guest.State state) {
    return state == Guest.State.CRASHED ? GuestState.SHUTDOWN : GuestState.valueOf(state.name());
  }

  /**
   * Waits until the guest is seen in one of the states.
   *
   * @throws HypervisorException TIMEOUT when the deadline has passed; GONE when it ended
   */
  GuestState await(UUID vm, Set<GuestState> wanted, Duration deadline)
      throws HypervisorException, InterruptedException, IOException {
    return await(vm, wanted, deadline, () -> {});
  }

  /** Whether it is worth waiting on; throws when not. */
  @FunctionalInterface
  interface Hope {
    void check() throws IOException;
  }

  GuestState await(UUID vm, Set<GuestState> wanted, Duration deadline, Hope hope)
      throws HypervisorException, InterruptedException, IOException {
    Guest guest = get(vm);
    Semaphore changes = new Semaphore(0);
    try (Listening listening = listen(guest, changes)) {
      return await(guest, wanted, deadline, hope, changes);
    }
  }

  private interface Listening extends AutoCloseable {
    @Override
    void close() throws IOException;
  }

  private static Listening listen(Guest guest, Semaphore changes) {
    AutoCloseable listener = guest.onChange(state -> changes.release());
    return () -> {
      try {
        listener.close();
      } catch (IOException | RuntimeException e) {
        throw e;
      } catch (Exception e) {
        throw new IOException(e);
      }
    };
  }

  private static GuestState await(
      Guest guest, Set<GuestState> wanted, Duration deadline, Hope hope, Semaphore changes)
      throws HypervisorException, InterruptedException, IOException {
    UUID vm = guest.vm();
    long end = System.nanoTime() + deadline.toNanos();
    while (true) {
      hope.check();
      GuestState state = seen(guest.state());
      if (wanted.contains(state)) {
        return state;
      }
      if (state == GuestState.GONE) {
        throw new HypervisorException(
            HypervisorException.Kind.GONE, "the guest of VM " + vm + " ended");
      }
      if (System.nanoTime() - end > 0) {
        throw new HypervisorException(
            HypervisorException.Kind.TIMEOUT,
            "the guest of VM " + vm + " is " + state + " after " + deadline + ", not " + wanted);
      }
      if (changes.tryAcquire(LOOK.toNanos(), TimeUnit.NANOSECONDS)) {
        changes.drainPermits();
      }
    }
  }

  GuestState await(UUID vm, GuestState wanted, Duration deadline)
      throws HypervisorException, InterruptedException, IOException {
    return await(vm, EnumSet.of(wanted), deadline);
  }

  void destroy(UUID vm) throws HypervisorException, InterruptedException {
    Optional<Guest> guest = find(vm);
    if (guest.isPresent()) {
      guest.get().destroy();
    }
  }
}
