package io.xenferry.guest;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;

/**
 * The guest proper: its run state, disks, memory and work. Its methods change the run state one
 * after another; events are told to the monitor.
 */
final class Machine {
  private static final long SLOW_SECONDS = 5;

  final GuestSettings settings;
  final Faults faults;
  final List<GuestDisk> disks;
  final GuestMemory memory;
  final Throttle diskThrottle;
  final Throttle writeThrottle;
  private final RunGate gate;
  private final Optional<Workload> workload;
  private volatile RunState state;
  private boolean rebooted;
  private volatile Events events = (name, payload) -> {};

  /** Who is told of events. */
  interface Events {
    void tell(String name, ObjectNode payload);
  }

  Machine(
      GuestSettings settings,
      List<GuestDisk> disks,
      RunGate gate,
      Optional<Workload> workload,
      Throttle diskThrottle,
      Throttle writeThrottle,
      RunState state)
      throws IOException {
    this.settings = settings;
    this.faults = settings.faults();
    this.disks = new CopyOnWriteArrayList<>(disks);
    this.gate = gate;
    this.workload = workload;
    this.diskThrottle = diskThrottle;
    this.writeThrottle = writeThrottle;
    this.state = state;
    this.memory = new GuestMemory(settings.number("memory-size", 16 << 20));
    long dirtyRate = settings.number("memory-dirty-rate", 4 << 20);
    if (dirtyRate > 0) {
      Thread.ofPlatform().daemon().name("memory").start(() -> dirtyLoop(new Throttle(dirtyRate)));
    }
  }

  void tellEventsTo(Events listener) {
    events = listener;
  }

  void tell(String name, ObjectNode payload) {
    events.tell(name, payload);
  }

  RunState state() {
    return state;
  }

  RunGate gate() {
    return gate;
  }

  private void dirtyLoop(Throttle rate) {
    try {
      while (true) {
        gate.enter();
        try {
          ThreadLocalRandom random = ThreadLocalRandom.current();
          memory.touch(random.nextInt(memory.count()), random.nextLong());
        } finally {
          gate.leave();
        }
        rate.pass(GuestMemory.PAGE);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** Lets the guest run; its disks are its own first. */
  synchronized void run() throws QmpError {
    if (state == RunState.RUNNING) {
      return;
    }
    faults.dieAt("cont");
    if (faults.has("refuse-cont")) {
      throw new QmpError("fault: cont refused");
    }
    try {
      for (GuestDisk disk : disks) {
        disk.activate();
      }
      if (workload.isPresent()) {
        workload.get().started();
      }
    } catch (IOException e) {
      throw new QmpError(String.valueOf(e.getMessage()));
    }
    state = RunState.RUNNING;
    gate.open();
    tell("RESUME", QmpServer.object());
    if (faults.has("panic")) {
      soon(this::panic);
    } else if (faults.has("halt")) {
      soon(this::powerDown);
    }
    faults.dieAt("running");
  }

  private static void soon(Runnable fate) {
    after(1, fate);
  }

  private static void after(long seconds, Runnable fate) {
    CompletableFuture.delayedExecutor(seconds, TimeUnit.SECONDS).execute(fate);
  }

  /**
   * Stops the guest.
   *
   * @return whether it ran
   */
  synchronized boolean stop(RunState to) {
    boolean ran = state == RunState.RUNNING;
    if (ran) {
      gate.close();
      try {
        if (workload.isPresent()) {
          workload.get().stopped();
        }
      } catch (IOException e) {
        Failure.end("its ledger cannot note that it stopped", e);
      }
    }
    state = to;
    if (ran) {
      tell("STOP", QmpServer.object());
    }
    return ran;
  }

  /** As QEMU at the end of a stream: says so when it cannot have a disk, and goes on. */
  synchronized void activateAsReceived() {
    if (faults.has("refuse-activate")) {
      return;
    }
    for (GuestDisk disk : disks) {
      try {
        disk.activate();
      } catch (IOException e) {
        System.err.println(e.getMessage());
      }
    }
  }

  /** Gives the disks up, for whoever got the memory. */
  synchronized void deactivateDisks() throws IOException {
    for (GuestDisk disk : disks) {
      disk.deactivate();
    }
  }

  synchronized void plug(GuestDisk disk) {
    disks.add(disk);
  }

  /** Gives a disk the image of another, which is not to be used any more. */
  synchronized void replace(GuestDisk disk, GuestDisk other) throws IOException {
    List<IOException> failures = new ArrayList<>();
    gate.quiesced(() -> {
      try {
        disk.take(other);
      } catch (IOException e) {
        failures.add(e);
      }
    });
    if (!failures.isEmpty()) {
      throw failures.getFirst();
    }
  }

  /** Returns when nothing is being written to the disk. */
  synchronized void unplug(GuestDisk disk) {
    disks.remove(disk);
    workload.ifPresent(work -> work.leave(disk));
  }

  synchronized void panic() {
    if (state == RunState.RUNNING) {
      tell("GUEST_PANICKED", QmpServer.object().put("action", "pause"));
      stop(RunState.PANICKED);
    }
  }

  synchronized void powerDown() {
    faults.dieAt("power-button");
    if (faults.has("ignore-power")) {
      tell("POWERDOWN", QmpServer.object());
    } else if (faults.has("reboot-power") && !rebooted) {
      rebooted = true;
      tell("POWERDOWN", QmpServer.object());
      tell("RESET", QmpServer.object().put("guest", true).put("reason", "guest-reset"));
    } else if (faults.has("slow-power")) {
      tell("POWERDOWN", QmpServer.object());
      after(SLOW_SECONDS, this::shutDown);
    } else if (state == RunState.RUNNING) {
      tell("POWERDOWN", QmpServer.object());
      shutDown();
    }
  }

  private synchronized void shutDown() {
    if (stop(RunState.SHUTDOWN)) {
      tell("SHUTDOWN", QmpServer.object().put("guest", true).put("reason", "guest-shutdown"));
    }
  }

  synchronized void reset() {
    if (state == RunState.SHUTDOWN || state == RunState.PANICKED) {
      state = RunState.PAUSED;
    }
    tell("RESET", QmpServer.object().put("guest", false).put("reason", "host-qmp-system-reset"));
  }

  /** Everything that is no page. */
  ObjectNode saveState() {
    ObjectNode saved = QmpServer.object();
    saved.put("touched", memory.touched());
    workload.ifPresent(work -> work.save(saved.putObject("workload")));
    var sizes = saved.putArray("disks");
    disks.forEach(disk -> sizes.add(disk.size));
    return saved;
  }

  void loadState(JsonNode saved) throws IOException {
    JsonNode sizes = saved.path("disks");
    if (sizes.size() != disks.size()) {
      throw new IOException(sizes.size() + " disks arrive where " + disks.size() + " are");
    }
    for (GuestDisk disk : disks) {
      if (sizes.get(disk.index).asLong() != disk.size) {
        throw new IOException(
            disk.settings.device() + " has " + disk.size + " bytes, not " + sizes.get(disk.index));
      }
    }
    if (workload.isPresent()) {
      workload.get().load(saved.path("workload"));
    }
  }
}
