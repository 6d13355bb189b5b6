package io.xenferry.guest;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.zip.CRC32C;

/**
 * Sends the memory while the guest runs, pass by pass, until what is left fits the downtime limit;
 * then stops the guest, waits where pause-before-switchover says so, and sends the rest. Statuses
 * and events are QEMU's (qapi/migration.json); so is that a cancelled or failed sending lets a
 * guest run again by itself that ran before.
 */
final class Outgoing {
  private final Machine machine;
  private final MigrationSettings settings;
  private final SocketChannel channel;
  private final Throttle bandwidth = new Throttle(0);
  private final byte[] page = new byte[GuestMemory.PAGE];
  private String status = "setup";
  private boolean goOn;
  private boolean cancelled;
  private volatile long sent;
  private volatile long passes;
  private volatile double bytesPerSecond;
  private volatile String error = "";

  Outgoing(Machine machine, MigrationSettings settings, Path socket) throws IOException {
    this.machine = machine;
    this.settings = settings;
    this.channel = SocketChannel.open(StandardProtocolFamily.UNIX);
    channel.connect(UnixDomainSocketAddress.of(socket));
  }

  void start() {
    Thread.ofPlatform().daemon().name("migration").start(this::send);
  }

  synchronized String status() {
    return status;
  }

  synchronized boolean underWay() {
    return switch (status) {
      case "completed", "failed", "cancelled" -> false;
      default -> true;
    };
  }

  private void enter(String next) {
    synchronized (this) {
      if (cancelled && !next.equals("cancelled")) {
        return;
      }
      status = next;
      notifyAll();
    }
    machine.tell("MIGRATION", QmpServer.object().put("status", next));
  }

  /** Unless it was cancelled until now; afterwards it cannot be any more. */
  private void complete() throws IOException {
    synchronized (this) {
      checkNotCancelled();
      status = "completed";
      notifyAll();
    }
    machine.tell("MIGRATION", QmpServer.object().put("status", "completed"));
  }

  synchronized void goOn(String expected) throws QmpError {
    if (!status.equals("pre-switchover") || !expected.equals(status)) {
      throw new QmpError("Migration not in expected state: " + status);
    }
    goOn = true;
    notifyAll();
  }

  void cancel() {
    synchronized (this) {
      if (!underWay() || cancelled) {
        return;
      }
      cancelled = true;
      status = "cancelling";
      notifyAll();
    }
    machine.tell("MIGRATION", QmpServer.object().put("status", "cancelling"));
    closeChannel();
  }

  private void send() {
    boolean ran = false;
    boolean stopped = false;
    try (channel) {
      enter("active");
      DataOutputStream out =
          new DataOutputStream(new BufferedOutputStream(Channels.newOutputStream(channel), 65536));
      out.writeInt(MemoryStream.MAGIC);
      out.writeInt(machine.memory.count());
      machine.memory.trackAll();
      while (true) {
        passes++;
        machine.tell("MIGRATION_PASS", QmpServer.object().put("pass", passes));
        sendDirty(out);
        if (machine.faults.has("stall-memory")) {
          awaitCancel();
        }
        long left = (long) machine.memory.dirtyCount() * GuestMemory.PAGE;
        if (left <= bytesPerSecond * settings.downtimeMillis() / 1e3) {
          break;
        }
        Thread.sleep(1);
      }
      ran = machine.stop(RunState.FINISH_MIGRATE);
      stopped = true;
      machine.faults.dieAt("stopped");
      if (settings.pauseBeforeSwitchover()) {
        enter("pre-switchover");
        machine.faults.dieAt("pre-switchover");
        awaitGoOn();
      }
      enter("device");
      machine.faults.dieAt("device");
      sendDirty(out);
      sendState(out);
      out.flush();
      channel.shutdownOutput();
      checkNotCancelled();
      machine.deactivateDisks();
      if (machine.faults.has("stall-end")) {
        untilCancelled();
      }
      // In QEMU's order: completed first.
      complete();
      machine.stop(RunState.POSTMIGRATE);
      machine.faults.dieAt("sent");
    } catch (IOException | InterruptedException e) {
      fail(e, ran, stopped);
    } finally {
      machine.memory.stopTracking();
    }
  }

  private void fail(Exception e, boolean ran, boolean stopped) {
    error = e.toString();
    if (ran) {
      try {
        machine.run();
      } catch (QmpError refused) {
        System.err.println("migration: the guest cannot run again: " + refused.text());
      }
    } else if (stopped) {
      machine.stop(RunState.POSTMIGRATE);
    }
    boolean wasCancelled;
    synchronized (this) {
      wasCancelled = cancelled;
    }
    if (!wasCancelled) {
      System.err.println("migration failed: " + e);
    }
    enter(wasCancelled ? "cancelled" : "failed");
  }

  private void sendDirty(DataOutputStream out) throws IOException, InterruptedException {
    long began = System.nanoTime();
    long before = sent;
    for (int next = machine.memory.nextDirty(0);
        next >= 0;
        next = machine.memory.nextDirty(next + 1)) {
      checkNotCancelled();
      machine.memory.take(next, page);
      out.writeByte(MemoryStream.PAGE_FOLLOWS);
      out.writeInt(next);
      out.write(page);
      sent += page.length;
      bandwidth.limit(settings.bandwidth());
      bandwidth.pass(page.length);
    }
    out.flush();
    long took = Math.max(1, System.nanoTime() - began);
    if (sent - before > 64 * GuestMemory.PAGE || bytesPerSecond == 0) {
      bytesPerSecond = (sent - before) * 1e9 / took;
    }
  }

  private void sendState(DataOutputStream out) throws IOException {
    byte[] state = machine.saveState().toString().getBytes(StandardCharsets.UTF_8);
    CRC32C crc = new CRC32C();
    crc.update(state);
    out.writeByte(MemoryStream.STATE_FOLLOWS);
    out.writeInt(state.length);
    out.write(state);
    out.writeInt((int) crc.getValue());
  }

  private synchronized void checkNotCancelled() throws IOException {
    if (cancelled) {
      throw new IOException("cancelled");
    }
  }

  private synchronized void awaitGoOn() throws IOException, InterruptedException {
    while (!goOn) {
      checkNotCancelled();
      wait();
    }
  }

  private void awaitCancel() throws IOException, InterruptedException {
    untilCancelled();
    checkNotCancelled();
  }

  private synchronized void untilCancelled() throws InterruptedException {
    while (!cancelled) {
      wait();
    }
  }

  private void closeChannel() {
    try {
      channel.close();
    } catch (IOException e) {
      System.err.println("migration: " + e);
    }
  }

  ObjectNode query() {
    ObjectNode answer = QmpServer.object();
    answer.put("status", status());
    if (!error.isEmpty() && status().equals("failed")) {
      answer.put("error-desc", error);
    }
    boolean completed = status().equals("completed");
    answer
        .putObject("ram")
        .put("total", (long) machine.memory.count() * GuestMemory.PAGE)
        .put("transferred", sent)
        .put("remaining", completed ? 0 : (long) machine.memory.dirtyCount() * GuestMemory.PAGE)
        .put("mbps", bytesPerSecond * 8 / 1e6)
        .put("dirty-sync-count", passes)
        .put("dirty-pages-rate", 0)
        .put("page-size", GuestMemory.PAGE);
    return answer;
  }
}
