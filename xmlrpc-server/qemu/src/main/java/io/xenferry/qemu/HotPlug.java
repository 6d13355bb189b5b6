package io.xenferry.qemu;

import com.fasterxml.jackson.databind.JsonNode;
import io.xenferry.qemu.access.GuestFiles;
import io.xenferry.qemu.access.GuestUser;
import io.xenferry.qemu.qmp.QmpEvent;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.Hardware;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import io.xenferry.spi.Scheduling;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Consumer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Plugs and unplugs over QMP. The spec on disk names a device from before it is plugged until after
 * it is gone: a server that dies in between leaves a spec that names too much, never too little,
 * and {@link #recover} puts that right.
 */
final class HotPlug implements Hardware {
  private static final Logger log = LoggerFactory.getLogger(HotPlug.class);

  private final Monitor monitor;
  private final GuestProcess process;
  private final GuestDirectory directory;
  private final Optional<GuestUser> user;
  private final ImageAccess access;
  private final DiskImages images;
  private final Duration releaseDeadline;
  private final ReentrantLock lock = new ReentrantLock();
  private final List<Consumer<Release>> listeners = new CopyOnWriteArrayList<>();
  private final CdTray tray;
  private final Processors processors;
  private volatile GuestSpec spec;

  /**
   * @param files what the guest may have of this host
   * @param releaseDeadline how long a guest may take to let a device go
   */
  HotPlug(
      GuestSpec spec,
      GuestDirectory directory,
      GuestProcess process,
      Monitor monitor,
      GuestFiles files,
      DiskImages images,
      Duration releaseDeadline) {
    this.spec = spec;
    this.user = files.user();
    this.images = images;
    this.access = new ImageAccess(monitor, files, images);
    this.directory = directory;
    this.process = process;
    this.monitor = monitor;
    this.tray = new CdTray(monitor);
    this.processors = new Processors(monitor);
    this.releaseDeadline = releaseDeadline;
    monitor.listen(this::event);
  }

  @Override
  public GuestSpec spec() {
    return spec;
  }

  /** After another server's death: what the spec names and the guest does not have goes. */
  void recover() throws HypervisorException, InterruptedException {
    lock.lockInterruptibly();
    try {
      Set<String> present = peripherals();
      for (GuestSpec.Disk disk : spec.disks()) {
        if (!present.contains(disk.device())) {
          closeDisk(disk.device());
          tell(new Release(Release.Kind.DISK, disk.device()));
        }
      }
      for (GuestSpec.Nic nic : spec.nics()) {
        if (!present.contains(GuestLauncher.nicName(nic.device()))) {
          closeNic(nic.device());
          tell(new Release(Release.Kind.NIC, nic.device()));
        }
      }
    } finally {
      lock.unlock();
    }
    noteImages();
  }

  private Set<String> peripherals() throws HypervisorException, InterruptedException {
    Set<String> names = new HashSet<>();
    for (JsonNode item : monitor.execute("qom-list", Map.of("path", "/machine/peripheral"))) {
      names.add(item.path("name").asText());
    }
    return names;
  }

  @Override
  public void attach(GuestSpec.Disk disk) throws HypervisorException, InterruptedException {
    lock.lockInterruptibly();
    try {
      if (spec.disks().stream().anyMatch(d -> d.device().equals(disk.device()))) {
        throw new HypervisorException(Kind.REFUSED, "the guest has a disk " + disk.device());
      }
      List<GuestSpec.Disk> disks = new ArrayList<>(spec.disks());
      disks.add(disk);
      write(with(disks, spec.nics()));
      try {
        access.allow(disk);
        monitor.execute("blockdev-add", QemuDevices.blockNode(disk));
        monitor.execute("device_add", QemuDevices.disk(disk));
      } catch (HypervisorException e) {
        if (e.kind() == Kind.REFUSED) {
          closeDisk(disk.device());
        }
        throw e;
      }
    } finally {
      lock.unlock();
    }
  }

  /** The disk's image is another one from now on, for whoever asks and for later servers. */
  void replaceImage(GuestSpec.Disk next) throws HypervisorException, InterruptedException {
    lock.lockInterruptibly();
    try {
      access.allow(next);
      Path before = images.of(next.device());
      images.replace(next);
      write(
          with(
              spec.disks().stream()
                  .map(disk -> disk.device().equals(next.device()) ? next : disk)
                  .toList(),
              spec.nics()));
      access.takeBack(spec, before);
    } finally {
      lock.unlock();
    }
  }

  ImageAccess access() {
    return access;
  }

  /**
   * After images have come or gone beneath the disks: the spec names those that are written now,
   * and the guest may write only them.
   */
  void noteImages() throws HypervisorException, InterruptedException {
    lock.lockInterruptibly();
    try {
      List<GuestSpec.Disk> now = new ArrayList<>();
      for (GuestSpec.Disk disk : spec.disks()) {
        boolean layered = disk.format().equals("qcow2");
        now.add(layered ? disk.on(images.of(disk.device())) : disk);
      }
      if (!now.equals(spec.disks())) {
        write(with(now, spec.nics()));
      }
      access.settle(spec);
    } finally {
      lock.unlock();
    }
  }

  /** What has happened has happened, also when it cannot be noted; a later server notes it. */
  void noteImagesOrWarn() throws InterruptedException {
    try {
      noteImages();
    } catch (HypervisorException e) {
      log.warn("{}: the images that it has now are not noted", spec.name(), e);
    }
  }

  @Override
  public void detachDisk(String device) throws HypervisorException, InterruptedException {
    if (spec.disks().stream().anyMatch(d -> d.device().equals(device))) {
      release(device);
      lock.lockInterruptibly();
      try {
        closeDisk(device);
      } finally {
        lock.unlock();
      }
    }
  }

  @Override
  public void attach(GuestSpec.Nic nic) throws HypervisorException, InterruptedException {
    lock.lockInterruptibly();
    try {
      if (spec.nics().stream().anyMatch(n -> n.device().equals(nic.device()))) {
        throw new HypervisorException(Kind.REFUSED, "the guest has a network card " + nic.device());
      }
      List<GuestSpec.Nic> nics = new ArrayList<>(spec.nics());
      nics.add(nic);
      write(with(spec.disks(), nics));
      try {
        NicBackend.prepare(nic, directory, user);
        monitor.execute("netdev_add", NicBackend.arguments(nic, directory));
        monitor.execute("device_add", QemuDevices.nic(nic, spec.machine().options()));
        NicBackend.connect(nic, directory);
      } catch (HypervisorException e) {
        if (e.kind() == Kind.REFUSED) {
          closeNic(nic.device());
        }
        throw e;
      }
    } finally {
      lock.unlock();
    }
  }

  @Override
  public void detachNic(String device) throws HypervisorException, InterruptedException {
    if (spec.nics().stream().anyMatch(n -> n.device().equals(device))) {
      release(GuestLauncher.nicName(device));
      lock.lockInterruptibly();
      try {
        closeNic(device);
      } finally {
        lock.unlock();
      }
    }
  }

  @Override
  public void insert(String device, GuestSpec.Medium medium)
      throws HypervisorException, InterruptedException {
    lock.lockInterruptibly();
    try {
      if (drive(device).medium().isPresent()) {
        throw new HypervisorException(Kind.REFUSED, "CD drive " + device + " is not empty");
      }
      write(withMedium(device, Optional.of(medium)));
      try {
        access.allow(medium);
        tray.insert(device, medium);
      } catch (HypervisorException e) {
        if (e.kind() == Kind.REFUSED) {
          remove("blockdev-del", "node-name", GuestLauncher.nodeName(device));
          write(withMedium(device, Optional.empty()));
        }
        throw e;
      }
    } finally {
      lock.unlock();
    }
  }

  @Override
  public void eject(String device) throws HypervisorException, InterruptedException {
    lock.lockInterruptibly();
    try {
      Optional<GuestSpec.Medium> medium = drive(device).medium();
      if (medium.isPresent()) {
        tray.eject(device);
        remove("blockdev-del", "node-name", GuestLauncher.nodeName(device));
        write(withMedium(device, Optional.empty()));
        access.takeBack(spec, medium.get().file());
      }
    } finally {
      lock.unlock();
    }
  }

  private GuestSpec.CdDrive drive(String device) throws HypervisorException {
    return spec.drives().stream()
        .filter(drive -> drive.device().equals(device))
        .findFirst()
        .orElseThrow(
            () -> new HypervisorException(Kind.REFUSED, "the guest has no CD drive " + device));
  }

  private GuestSpec withMedium(String device, Optional<GuestSpec.Medium> medium) {
    return spec.with(
        spec.disks(),
        spec.drives().stream()
            .map(drive ->
                drive.device().equals(device) ? new GuestSpec.CdDrive(device, medium) : drive)
            .toList(),
        spec.nics());
  }

  @Override
  public int vcpus() throws HypervisorException, InterruptedException {
    return processors.present();
  }

  @Override
  public void setVcpus(int count) throws HypervisorException, InterruptedException {
    if (count < 1 || count > spec.vcpus().maximum()) {
      throw new HypervisorException(
          Kind.REFUSED, count + " processors are not within 1 and " + spec.vcpus().maximum());
    }
    if (processors.present() > count) {
      processors.requireRemovable();
    }
    lock.lockInterruptibly();
    try {
      while (processors.present() < count) {
        processors.add();
      }
      // One that is new would run wherever it likes, and as often.
      schedule();
    } finally {
      noteVcpus();
      lock.unlock();
    }
    try {
      while (processors.present() > count) {
        // Without the lock: it waits for the guest.
        release(processors.last());
      }
    } finally {
      lock.lockInterruptibly();
      try {
        noteVcpus();
      } finally {
        lock.unlock();
      }
    }
  }

  private void noteVcpus() throws HypervisorException, InterruptedException {
    write(spec.with(spec.vcpus().with(processors.present()), spec.memory()));
  }

  @Override
  public void setScheduling(Scheduling scheduling)
      throws HypervisorException, InterruptedException {
    lock.lockInterruptibly();
    try {
      VcpuThreads.schedule(monitor, process, spec.vcpus().scheduling(), scheduling);
      write(spec.with(spec.vcpus().with(scheduling), spec.memory()));
    } finally {
      lock.unlock();
    }
  }

  /** As the spec says; a guest without is better than none. */
  void schedule() throws InterruptedException {
    Scheduling scheduling = spec.vcpus().scheduling();
    if (!scheduling.equals(Scheduling.FREE)) {
      try {
        // As much of it as can be.
        VcpuThreads.schedule(monitor, process, scheduling, scheduling);
      } catch (HypervisorException e) {
        log.warn("{}: its processors do not share this host as they should", spec.name(), e);
      }
    }
  }

  @Override
  public long memory() throws HypervisorException, InterruptedException {
    return monitor.execute("query-balloon").path("actual").asLong();
  }

  @Override
  public void setMemoryTarget(long bytes) throws HypervisorException, InterruptedException {
    if (bytes <= 0 || bytes > spec.memory().maximum()) {
      throw new HypervisorException(
          Kind.REFUSED, bytes + " bytes are not within 1 and " + spec.memory().maximum());
    }
    lock.lockInterruptibly();
    try {
      monitor.execute("balloon", Map.of("value", bytes));
      write(spec.with(spec.vcpus(), new GuestSpec.Memory(spec.memory().maximum(), bytes)));
    } finally {
      lock.unlock();
    }
  }

  @Override
  public AutoCloseable onRelease(Consumer<Release> listener) {
    listeners.add(listener);
    return () -> listeners.remove(listener);
  }

  /** Asks the guest to let a device go, and waits for it to do so. */
  private void release(String id) throws HypervisorException, InterruptedException {
    CompletableFuture<Boolean> answer = new CompletableFuture<>();
    AutoCloseable listening =
        monitor.listen(event -> {
          if (event.payload().path("device").asText().equals(id)) {
            switch (event.name()) {
              case "DEVICE_DELETED" -> answer.complete(true);
              case "DEVICE_UNPLUG_GUEST_ERROR" -> answer.complete(false);
              default -> {}
            }
          }
        });
    try {
      if (!peripherals().contains(id)) {
        return;
      }
      // Asking twice is no error, and reminds the guest.
      monitor.execute("device_del", Map.of("id", id));
      if (!answer.get(releaseDeadline.toNanos(), TimeUnit.NANOSECONDS)) {
        throw new HypervisorException(Kind.REFUSED, "the guest refuses to let " + id + " go");
      }
    } catch (TimeoutException e) {
      if (peripherals().contains(id)) {
        throw new HypervisorException(
            Kind.TIMEOUT, "the guest did not let " + id + " go within " + releaseDeadline, e);
      }
    } catch (ExecutionException e) {
      throw new IllegalStateException("nobody fails it", e);
    } finally {
      Closing.quietly(listening);
    }
  }

  /** A guest may let a device go long after it was asked, or without having been asked. */
  private void event(QmpEvent event) {
    if (!event.name().equals("DEVICE_DELETED")) {
      return;
    }
    String id = event.payload().path("device").asText();
    try {
      lock.lockInterruptibly();
      try {
        for (GuestSpec.Disk disk : spec.disks()) {
          if (disk.device().equals(id)) {
            closeDisk(id);
            tell(new Release(Release.Kind.DISK, id));
          }
        }
        for (GuestSpec.Nic nic : spec.nics()) {
          if (GuestLauncher.nicName(nic.device()).equals(id)) {
            closeNic(nic.device());
            tell(new Release(Release.Kind.NIC, nic.device()));
          }
        }
      } finally {
        lock.unlock();
      }
    } catch (HypervisorException e) {
      log.warn("{}: {} is gone but not yet noted", spec.name(), id, e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void tell(Release release) {
    listeners.forEach(listener -> listener.accept(release));
  }

  /** Closes the image of a disk that the guest does not have any more, and forgets it. */
  private void closeDisk(String device) throws HypervisorException, InterruptedException {
    ImageMerges.clear(monitor, device);
    Optional<Path> image = access.written(spec, device);
    remove("blockdev-del", "node-name", GuestLauncher.nodeName(device));
    write(
        with(spec.disks().stream().filter(d -> !d.device().equals(device)).toList(), spec.nics()));
    if (image.isPresent()) {
      access.takeBack(spec, image.get());
    }
  }

  private void closeNic(String device) throws HypervisorException, InterruptedException {
    remove("netdev_del", "id", GuestLauncher.netdevName(device));
    for (GuestSpec.Nic nic : spec.nics()) {
      if (nic.device().equals(device)) {
        NicBackend.release(nic, directory, user);
      }
    }
    write(
        with(spec.disks(), spec.nics().stream().filter(n -> !n.device().equals(device)).toList()));
  }

  private void remove(String command, String key, String name)
      throws HypervisorException, InterruptedException {
    try {
      monitor.execute(command, Map.of(key, name));
    } catch (HypervisorException e) {
      String words = String.valueOf(e.getMessage());
      boolean absent = words.contains("Failed to find node") || words.contains("not found");
      if (e.kind() != Kind.REFUSED || !absent) {
        throw e;
      }
    }
  }

  private GuestSpec with(List<GuestSpec.Disk> disks, List<GuestSpec.Nic> nics) {
    return spec.with(disks, spec.drives(), nics);
  }

  private void write(GuestSpec next) throws HypervisorException {
    try {
      directory.writeSpec(next);
      spec = next;
    } catch (IOException e) {
      throw new HypervisorException(
          Kind.REFUSED, "what the guest has cannot be noted in " + directory.path(), e);
    }
  }
}
