package io.xenferry.server.migration;

import io.xenferry.migration.ports.GuestState;
import io.xenferry.migration.ports.MemoryProgress;
import io.xenferry.migration.ports.MemoryTarget;
import io.xenferry.migration.ports.SourcePorts;
import io.xenferry.spi.Guest;
import io.xenferry.spi.Hypervisor;
import java.io.IOException;
import java.time.Duration;
import java.util.EnumSet;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;

/** The guests of this host, as the source of a migration moves them. */
final class SourceGuests implements SourcePorts.Guests {
  /** The coordinator's own deadlines are shorter or equal; this only ends forgotten threads. */
  private static final Duration DEADLINE = Duration.ofHours(3);

  private static final Duration LOOK = Duration.ofMillis(50);

  private final GuestCalls guests;
  private final Duration downtime;
  private final MemoryRelay.Opener opener;
  private final Map<UUID, MemoryRelay> relays = new ConcurrentHashMap<>();
  private final Map<UUID, MemoryProgress> progress = new ConcurrentHashMap<>();

  /**
   * @param downtime how long the guest may stand still for the rest of its memory
   * @param opener opens the stream to the destination
   */
  SourceGuests(Hypervisor hypervisor, Duration downtime, MemoryRelay.Opener opener) {
    this.guests = new GuestCalls(hypervisor);
    this.downtime = downtime;
    this.opener = opener;
  }

  @Override
  public CompletableFuture<GuestState> observe(UUID vm) {
    return Effects.call("observe " + vm, () -> guests.observe(vm));
  }

  @Override
  public CompletableFuture<Void> sendMemory(UUID vm, MemoryTarget target) {
    return Effects.run(
        "send memory of " + vm,
        () -> {
          Guest guest = guests.get(vm);
          guest.cancelSend();
          closeRelay(vm);
          MemoryRelay relay = MemoryRelay.listen(vm, () -> opener.open(target));
          relays.put(vm, relay);
          guest.sendMemory(relay.socket(), 0);
          awaitNearlySent(vm, guest, relay);
        });
  }

  private void awaitNearlySent(UUID vm, Guest guest, MemoryRelay relay) throws Exception {
    long end = System.nanoTime() + DEADLINE.toNanos();
    Guest.MemoryProgress before = guest.memoryProgress();
    long since = System.nanoTime();
    while (true) {
      Thread.sleep(LOOK);
      Optional<IOException> failure = relay.failure();
      if (failure.isPresent()) {
        throw failure.get();
      }
      Guest.State state = guest.state();
      if (state == Guest.State.PRE_SWITCHOVER) {
        // Nothing at all was left; QEMU then pauses the guest whatever its downtime limit says.
        return;
      }
      if (state != Guest.State.RUNNING && state != Guest.State.PAUSED) {
        throw new IOException("the guest is " + state + " while its memory is being sent");
      }
      Guest.MemoryProgress now = guest.memoryProgress();
      progress.put(vm, new MemoryProgress(now.sent(), now.remaining()));
      double seconds = (System.nanoTime() - since) / 1e9;
      double rate = Math.max(0, now.sent() - before.sent()) / seconds;
      if (now.sent() > 0
          && now.remaining() <= Math.max(1 << 20, rate * downtime.toMillis() / 1e3)) {
        return;
      }
      if (System.nanoTime() - end > 0) {
        throw new IOException("the memory did not converge within " + DEADLINE);
      }
    }
  }

  @Override
  public CompletableFuture<Void> pause(UUID vm) {
    return Effects.run(
        "pause " + vm,
        () -> {
          guests.get(vm).pauseForSwitch(downtime);
          guests.await(
              vm, EnumSet.of(GuestState.PRE_SWITCHOVER, GuestState.SENT), Duration.ofSeconds(60));
        });
  }

  @Override
  public CompletableFuture<Void> finishMemory(UUID vm) {
    return Effects.run(
        "finish memory of " + vm,
        () -> {
          guests.get(vm).finishMemory();
          guests.await(vm, GuestState.SENT, Duration.ofSeconds(60));
          MemoryRelay relay = relays.get(vm);
          if (relay != null) {
            relay.awaitEnd(Duration.ofSeconds(30));
          }
        });
  }

  @Override
  public CompletableFuture<Void> cancelMemory(UUID vm) {
    return Effects.run(
        "cancel memory of " + vm,
        () -> {
          Optional<Guest> guest = guests.find(vm);
          if (guest.isPresent()) {
            guest.get().cancelSend();
          }
          closeRelay(vm);
        });
  }

  @Override
  public MemoryProgress memoryProgress(UUID vm) {
    return progress.getOrDefault(vm, MemoryProgress.NONE);
  }

  @Override
  public CompletableFuture<Void> resume(UUID vm) {
    return Effects.run(
        "resume " + vm,
        () -> {
          Guest guest = guests.get(vm);
          guest.cancelSend();
          closeRelay(vm);
          if (guest.state() != Guest.State.RUNNING) {
            guest.resume();
          }
        });
  }

  @Override
  public CompletableFuture<Void> destroy(UUID vm) {
    return Effects.run(
        "destroy " + vm,
        () -> {
          guests.destroy(vm);
          closeRelay(vm);
          progress.remove(vm);
        });
  }

  private void closeRelay(UUID vm) {
    MemoryRelay relay = relays.remove(vm);
    if (relay != null) {
      relay.close();
    }
  }
}
