package io.xenferry.guest;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.xenferry.nbd.NbdClient;
import java.nio.ByteBuffer;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;

/**
 * A mirror of a disk as QEMU's with {@code sync=none} and {@code copy-mode=write-blocking}: each
 * write that the disk has goes to the target too before it is answered. One that fails there pauses
 * the job, which notes it and those after it; once the target is led to where everything is taken,
 * it can be resumed and ended.
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
  private volatile boolean led;
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

  /** The disk has it; returns when the target has it too, or has failed. */
  void write(long offset, ByteBuffer content) {
    int length = content.remaining();
    begun.addAndGet(length);
    if (led) {
      done.addAndGet(length);
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
    machine.tell(
        "BLOCK_JOB_ERROR",
        QmpServer.object().put("device", id).put("operation", "write").put("action", "stop"));
    if (failed.compareAndSet(false, true)) {
      become("standby");
    }
  }

  /** From now on the target takes everything, what it has not had so far too. */
  void leadAway() {
    // Whoever changes what a node stands on waits for the requests that are there.
    machine
        .gate()
        .quiesced(() -> {
          led = true;
          done.set(begun.get());
        });
  }

  synchronized void resume() throws QmpError {
    if (!failed.get()) {
      throw new QmpError("Can't resume a job that was not paused");
    }
    if (led) {
      failed.set(false);
      become("ready");
    }
  }

  /** Waits for the writes under way, as QEMU does, with its monitor; not if it is paused. */
  void cancel() {
    if (!failed.get()) {
      conclude();
    }
  }

  private void conclude() {
    synchronized (this) {
      if (concluded()) {
        return;
      }
      machine
          .gate()
          .quiesced(() -> {
            if (!failed.get()) {
              disk.mirrorTo(null);
            }
          });
      if (failed.get()) {
        return;
      }
      become("pending");
      become("concluded");
    }
    machine.tell("BLOCK_JOB_COMPLETED", describe());
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
    return QmpServer.object()
        .put("id", id)
        .put("type", "mirror")
        .put("status", status)
        .put("current-progress", done.get())
        .put("total-progress", begun.get());
  }
}
