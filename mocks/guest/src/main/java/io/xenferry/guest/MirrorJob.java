package io.xenferry.guest;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.xenferry.nbd.NbdClient;
import java.nio.ByteBuffer;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;

/**
 * A mirror of a disk as QEMU's with {@code sync=none} and {@code copy-mode=write-blocking}: each
 * write that the disk has goes to the target too before it is answered; the first that fails there
 * ends the job with an error, and nobody waits for the target any more.
 */
final class MirrorJob {
  private final Machine machine;
  private final String id;
  private final GuestDisk disk;
  private final NbdClient target;
  private final String targetNode;
  private final AtomicLong begun = new AtomicLong();
  private final AtomicLong done = new AtomicLong();
  private final AtomicBoolean failed = new AtomicBoolean();
  private volatile String status = "created";

  MirrorJob(Machine machine, String id, GuestDisk disk, String targetNode, NbdClient target) {
    this.machine = machine;
    this.id = id;
    this.disk = disk;
    this.targetNode = targetNode;
    this.target = target;
  }

  String id() {
    return id;
  }

  boolean uses(String node) {
    return !concluded() && node.equals(targetNode);
  }

  boolean isOn(GuestDisk candidate) {
    return disk == candidate && !concluded();
  }

  boolean concluded() {
    return status.equals("concluded");
  }

  void start() {
    become("running");
    // No write is under way when the filter is put in.
    machine.gate().quiesced(() -> disk.mirrorTo(this));
    become("ready");
    machine.tell("BLOCK_JOB_READY", describe());
  }

  /** The disk has it; returns when the target has it too, or was given up. */
  void write(long offset, ByteBuffer content) {
    int length = content.remaining();
    begun.addAndGet(length);
    if (failed.get()) {
      return;
    }
    try {
      target.write(offset, content).get();
      done.addAndGet(length);
    } catch (ExecutionException e) {
      fail();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      fail();
    }
  }

  private void fail() {
    if (!failed.compareAndSet(false, true)) {
      return;
    }
    machine.tell(
        "BLOCK_JOB_ERROR",
        QmpServer.object().put("device", id).put("operation", "write").put("action", "report"));
    Thread.ofPlatform().daemon().name("mirror " + id).start(this::conclude);
  }

  /** Waits for the writes under way, as QEMU does, with its monitor. */
  void cancel(boolean force) {
    if (force && !concluded()) {
      failed.set(true);
    }
    conclude();
  }

  private void conclude() {
    synchronized (this) {
      if (concluded()) {
        return;
      }
      machine.gate().quiesced(() -> disk.mirrorTo(null));
      become(failed.get() ? "aborting" : "pending");
      become("concluded");
    }
    ObjectNode end = describe();
    if (failed.get()) {
      end.put("error", "Input/output error");
    }
    machine.tell("BLOCK_JOB_COMPLETED", end);
  }

  private void become(String next) {
    status = next;
    machine.tell("JOB_STATUS_CHANGE", QmpServer.object().put("status", next).put("id", id));
  }

  private ObjectNode describe() {
    return QmpServer.object()
        .put("device", id)
        .put("len", begun.get())
        .put("offset", done.get())
        .put("speed", 0)
        .put("type", "mirror");
  }

  /** As {@code query-jobs} shows it. */
  ObjectNode query() {
    ObjectNode answer =
        QmpServer.object()
            .put("id", id)
            .put("type", "mirror")
            .put("status", status)
            .put("current-progress", done.get())
            .put("total-progress", begun.get());
    if (failed.get() && concluded()) {
      answer.put("error", "Input/output error");
    }
    return answer;
  }
}
