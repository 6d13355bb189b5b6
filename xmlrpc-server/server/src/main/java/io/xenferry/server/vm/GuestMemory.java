package io.xenferry.server.vm;

import io.xenferry.block.BlockBackend;
import io.xenferry.model.Host;
import io.xenferry.model.Pool;
import io.xenferry.model.Ref;
import io.xenferry.model.SR;
import io.xenferry.model.VDI;
import io.xenferry.model.VM;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.spi.Guest;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.HypervisorException;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.Channels;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * Writes a guest's memory to a disk, by way of a socket of this server. A guest that runs goes on
 * until little is left, and then stands still until all of it is sent.
 */
public final class GuestMemory {
  /** A disk that takes 10 MB/s takes this long for 36 GB. */
  static final Duration DEADLINE = Duration.ofHours(1);

  /** For what of a guest is not memory: devices, the stream's own words. */
  private static final long OVERHEAD = 96L << 20;

  /** Of the memory, what may be left when a guest that runs is stopped. */
  private static final int LITTLE = 16;

  private static final Duration SETTLE = Duration.ofMinutes(2);
  private static final Duration LOOK = Duration.ofMillis(20);

  private final ObjectDatabase database;
  private final DiskMaker maker;
  private final Ref<Host> host;

  /**
   * @param host this one
   */
  public GuestMemory(ObjectDatabase database, DiskMaker maker, Ref<Host> host) {
    this.database = database;
    this.maker = maker;
    this.host = host;
  }

  /** What is done while the guest stands still. */
  @FunctionalInterface
  interface Step {
    void run() throws XenApiException, HypervisorException, InterruptedException;
  }

  /**
   * Where the memory of a VM goes.
   *
   * @throws XenApiException VM_NO_SUSPEND_SR
   */
  Ref<SR> suspendSr(Ref<VM> vm) throws XenApiException {
    Snapshot db = database.snapshot();
    List<Ref<SR>> choices = new ArrayList<>();
    choices.add(db.get(vm, VM.SUSPEND_SR));
    choices.add(db.get(host, Host.SUSPEND_IMAGE_SR));
    for (Row pool : db.rows("pool")) {
      choices.add(db.get(new Ref<Pool>(pool.ref()), Pool.SUSPEND_IMAGE_SR));
      choices.add(db.get(new Ref<Pool>(pool.ref()), Pool.DEFAULT_SR));
    }
    for (Ref<SR> choice : choices) {
      if (!choice.isNull() && db.row("SR", choice.opaque()).isPresent()) {
        return choice;
      }
    }
    throw new XenApiException("VM_NO_SUSPEND_SR", vm.opaque());
  }

  /**
   * Makes the disk.
   *
   * @param times how often each page of the memory may have to be sent
   */
  Ref<VDI> create(Ref<SR> sr, Guest guest, int times) throws XenApiException {
    GuestSpec spec = guest.hardware().spec();
    long memory = spec.memory().maximum() + ((long) spec.machine().options().videoMemory() << 20);
    long size = times * memory + OVERHEAD + SuspendImage.HEAD;
    return maker.create(sr, "Suspend image", "suspend", size);
  }

  /**
   * Writes the memory of a guest to the disk, and returns when it is there. When it fails the guest
   * goes on, one that was paused as well.
   *
   * @param still done once, when the guest stands still
   * @param sent done once, when its memory has been taken
   */
  void save(Guest guest, Ref<VDI> vdi, Step still, Step sent)
      throws IOException, XenApiException, HypervisorException, InterruptedException {
    boolean done = false;
    try {
      send(guest, vdi, still, sent);
      done = true;
    } finally {
      if (!done) {
        guest.cancelSend();
        guest.resume();
      }
    }
  }

  private void send(Guest guest, Ref<VDI> vdi, Step still, Step sent)
      throws IOException, XenApiException, HypervisorException, InterruptedException {
    Path socket = guest.outgoingSocket();
    Files.deleteIfExists(socket); // of an attempt whose server was killed
    try (ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
        BlockBackend disk = maker.open(vdi, true)) {
      server.bind(UnixDomainSocketAddress.of(socket), 1);
      SuspendImage.Shape shape = SuspendImage.Shape.of(guest.hardware().spec());
      CompletableFuture<Void> written = new CompletableFuture<>();
      Thread.ofVirtual()
          .name("memory of " + guest.vm())
          .start(() -> {
            try (SocketChannel stream = server.accept()) {
              SuspendImage.write(disk, Channels.newInputStream(stream), shape);
              written.complete(null);
            } catch (IOException | RuntimeException e) {
              written.completeExceptionally(e);
            }
          });
      guest.sendMemory(socket, 0);
      awaitLittleLeft(guest, written);
      guest.pauseForSwitch(SETTLE);
      awaitSent(guest, written, still);
      sent.run();
      await(written);
    } finally {
      Files.deleteIfExists(socket);
    }
  }

  /** Of a guest that runs; one that stands still changes nothing meanwhile. */
  private static void awaitLittleLeft(Guest guest, CompletableFuture<Void> written)
      throws IOException, HypervisorException, InterruptedException {
    long all = guest.hardware().spec().memory().maximum();
    long end = System.nanoTime() + DEADLINE.toNanos();
    while (guest.state() == Guest.State.RUNNING) {
      Guest.MemoryProgress progress = guest.memoryProgress();
      if (progress.sent() >= all || progress.sent() > 0 && progress.remaining() <= all / LITTLE) {
        return;
      }
      check(written, end);
      Thread.sleep(LOOK);
    }
  }

  private static void check(CompletableFuture<Void> written, long end)
      throws IOException, HypervisorException, InterruptedException {
    if (written.isCompletedExceptionally()) {
      await(written);
    }
    if (System.nanoTime() - end > 0) {
      throw new HypervisorException(
          HypervisorException.Kind.TIMEOUT, "the memory was not sent within " + DEADLINE);
    }
  }

  private static void awaitSent(Guest guest, CompletableFuture<Void> written, Step still)
      throws IOException, XenApiException, HypervisorException, InterruptedException {
    long end = System.nanoTime() + DEADLINE.toNanos();
    boolean told = false;
    while (true) {
      Guest.State state = guest.state();
      if (state == Guest.State.SENT) {
        return;
      }
      if (GuestWatch.hasEnded(state)) {
        throw new HypervisorException(
            HypervisorException.Kind.GONE, "the guest ended while its memory was being saved");
      }
      if (state == Guest.State.PRE_SWITCHOVER && !told) {
        still.run();
        guest.finishMemory();
        told = true;
      }
      check(written, end);
      Thread.sleep(LOOK);
    }
  }

  private static void await(CompletableFuture<Void> written)
      throws IOException, InterruptedException {
    try {
      written.get(DEADLINE.toSeconds(), TimeUnit.SECONDS);
    } catch (ExecutionException e) {
      throw new IOException("the memory could not be written: " + e.getCause(), e.getCause());
    } catch (TimeoutException e) {
      throw new IOException("the memory was not written within " + DEADLINE, e);
    }
  }
}
