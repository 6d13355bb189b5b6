package io.xenferry.server.vm;

import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Snapshot;
import io.xenferry.spi.Hypervisor;
import io.xenferry.spi.HypervisorException;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Has the hypervisor remove what is left of a guest, its log above all, once the VM has no record
 * here any more: it was destroyed, or has moved away. As long as there is a record the log stays.
 */
public final class GuestLeavings implements AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(GuestLeavings.class);

  private final ObjectDatabase database;
  private final Hypervisor hypervisor;
  private final AtomicInteger vms = new AtomicInteger();
  private final AtomicBoolean wanted = new AtomicBoolean();
  private final Semaphore working = new Semaphore(1);
  private final ObjectDatabase.Registration registration;
  private volatile boolean closed;

  public GuestLeavings(ObjectDatabase database, Hypervisor hypervisor) {
    this.database = database;
    this.hypervisor = hypervisor;
    vms.set(database.snapshot().rows("VM").size());
    this.registration = database.onCommit(this::look);
  }

  /** Once all that may still be live is known again: removes what a server before this one left. */
  public void recover() {
    wanted.set(true);
    removeLater();
  }

  private void look(Snapshot snapshot) {
    int now = snapshot.rows("VM").size();
    if (now < vms.getAndSet(now)) {
      wanted.set(true);
      removeLater();
    }
  }

  private void removeLater() {
    Thread.ofVirtual().name("leavings of guests").start(this::removeWanted);
  }

  /** One at a time; who comes meanwhile leaves the wish for the one at work. */
  private void removeWanted() {
    while (!closed && wanted.get() && working.tryAcquire()) {
      try {
        while (!closed && wanted.getAndSet(false)) {
          hypervisor.removeLeavings(
              vm -> closed || database.snapshot().byUuid("VM", vm.toString()).isPresent());
        }
      } catch (HypervisorException e) {
        log.warn("what is left of former guests stays for now", e);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        return;
      } finally {
        working.release();
      }
    }
  }

  @Override
  public void close() {
    closed = true;
    registration.close();
  }
}
