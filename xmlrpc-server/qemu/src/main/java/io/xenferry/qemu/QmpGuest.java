package io.xenferry.qemu;

import com.fasterxml.jackson.databind.JsonNode;
import io.xenferry.block.BlockBackend;
import io.xenferry.copy.Snapshots;
import io.xenferry.copy.SourceDisk;
import io.xenferry.qemu.access.GuestFiles;
import io.xenferry.qemu.qmp.QmpEvent;
import io.xenferry.spi.Guest;
import io.xenferry.spi.GuestAgent;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import io.xenferry.spi.ImageMerging;
import io.xenferry.spi.Usage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** A guest behind a QMP monitor. */
final class QmpGuest implements Guest {
  private static final Logger log = LoggerFactory.getLogger(QmpGuest.class);

  /** So often a second a guest may write, however much it is slowed: 4 MiB of dirty blocks. */
  private static final long FEWEST_WRITES = 64;

  private static final Duration END_DEADLINE = Duration.ofSeconds(10);

  private static final Duration CLOSING = Duration.ofSeconds(2);

  /** How often a process is looked at whose monitor says nothing. */
  private static final Duration WATCH = Duration.ofMillis(250);

  private final UUID vm;
  private final String name;
  private final GuestDirectory directory;
  private final GuestProcess process;
  private final GuestFiles files;
  private final Optional<GuestProcess> tpm;
  private final Monitor monitor;
  private final MemorySender memory;
  private final NbdExports exports;
  private final DiskImages images;
  private final ImageMerges merges;
  private final HotPlug hardware;
  private final Watchdog watchdog;
  private final GuestFigures figures;
  private final Optional<GuestAgent> agent;
  private final Runnable onGone;
  private final List<Consumer<State>> listeners = new CopyOnWriteArrayList<>();
  private final List<Consumer<Duration>> clockListeners = new CopyOnWriteArrayList<>();
  private final AtomicReference<@Nullable State> told = new AtomicReference<>();
  private volatile boolean letGo;

  /**
   * @param files what it may have of this host
   * @param releaseDeadline how long the guest may take to let a device go
   * @param onGone called once when the process is seen gone
   */
  QmpGuest(
      GuestSpec spec,
      GuestDirectory directory,
      GuestProcess process,
      GuestFiles files,
      Duration releaseDeadline,
      Runnable onGone) {
    this.vm = spec.vm();
    this.name = spec.name();
    this.directory = directory;
    this.process = process;
    this.files = files;
    this.tpm = spec.tpm().isPresent() ? TpmEmulator.find(directory) : Optional.empty();
    this.onGone = onGone;
    this.monitor = new Monitor(process, directory, this::tellState);
    this.memory = new MemorySender(monitor);
    this.exports =
        new NbdExports(
            monitor, directory.nbdSocket(), () -> files.keep(List.of(directory.nbdSocket())));
    this.images = new DiskImages(monitor);
    this.hardware = new HotPlug(spec, directory, process, monitor, files, images, releaseDeadline);
    this.watchdog = new Watchdog(directory.watchdogSocket(), directory.logFile());
    this.merges = new ImageMerges(monitor, exports, images, hardware, watchdog);
    this.figures = new GuestFigures(directory, process, monitor, hardware);
    this.agent =
        MachineLayout.hasAgent(spec.machine().layout())
            ? Optional.of(new AgentPort(monitor, directory.agentSocket()))
            : Optional.empty();
    monitor.listen(this::event);
    Thread.ofVirtual().name("guest " + name).start(this::watch);
  }

  GuestProcess process() {
    return process;
  }

  GuestFiles files() {
    return files;
  }

  @Override
  public Optional<Path> console(Console kind) {
    Path socket =
        switch (kind) {
          case TEXT -> directory.serialSocket(0);
          case SCREEN -> directory.vncSocket();
        };
    return Files.exists(socket) ? Optional.of(socket) : Optional.empty();
  }

  @Override
  public Usage usage(Duration deadline) throws HypervisorException, InterruptedException {
    return figures.now(deadline);
  }

  @Override
  public Optional<GuestAgent> agent() {
    return agent;
  }

  @Override
  public HotPlug hardware() {
    return hardware;
  }

  /** Waits until the monitor answers, and readies a guest that waits for a memory stream. */
  void settle(boolean incoming) throws HypervisorException, InterruptedException {
    monitor.execute("query-status");
    if (incoming) {
      monitor.execute(
          "migrate-set-capabilities",
          Map.of(
              "capabilities",
              List.of(
                  Map.of("capability", "events", "state", true),
                  Map.of("capability", "pause-before-switchover", "state", true),
                  // The stream may end while the images are still exported: see activate.
                  Map.of("capability", "late-block-activate", "state", true))));
      exports.serve(); // activate needs it, while the guest waits
      monitor.execute("migrate-incoming", Map.of("uri", "unix:" + directory.incomingSocket()));
    }
    files.keep(directory.served());
  }

  @Override
  public UUID vm() {
    return vm;
  }

  @Override
  public State state() throws HypervisorException, InterruptedException {
    if (!process.alive()) {
      return State.GONE;
    }
    try {
      String run = monitor.execute("query-status").path("status").asText();
      return switch (run) {
        case "running", "suspended" -> State.RUNNING;
        case "inmigrate" -> State.INCOMING;
        case "finish-migrate" -> State.PRE_SWITCHOVER;
        case "postmigrate" -> memory.status().equals("completed") ? State.SENT : State.PAUSED;
        case "shutdown" -> State.SHUTDOWN;
        case "guest-panicked" -> State.CRASHED;
        case "paused", "prelaunch" -> received() ? State.RECEIVED : State.PAUSED;
        case "io-error", "watchdog", "debug", "internal-error", "save-vm", "restore-vm" ->
            State.PAUSED;
        default -> throw new HypervisorException(Kind.PROTOCOL, "unknown run state " + run);
      };
    } catch (HypervisorException e) {
      // A process that ends closes its monitor first and is gone a little later.
      if (e.kind() == Kind.GONE && process.endsWithin(CLOSING)) {
        return State.GONE;
      }
      throw e;
    }
  }

  private boolean received() throws HypervisorException, InterruptedException {
    return Files.exists(directory.incomingMark()) && memory.status().equals("completed");
  }

  @Override
  public void pause() throws HypervisorException, InterruptedException {
    monitor.execute("stop");
  }

  @Override
  public void resume() throws HypervisorException, InterruptedException {
    State before = state();
    switch (before) {
      case RUNNING -> {
        return;
      }
      case RECEIVED, SENT -> checkNobodyElseWrites();
      case PAUSED -> {}
      case INCOMING, PRE_SWITCHOVER, SHUTDOWN, CRASHED ->
          throw new HypervisorException(Kind.REFUSED, "a guest that is " + before + " cannot run");
      case GONE -> throw new HypervisorException(Kind.GONE, "the guest's process is gone");
    }
    monitor.execute("cont");
    if (state() != State.RUNNING) {
      throw new HypervisorException(Kind.REFUSED, "the guest did not run when told to");
    }
    try {
      Files.deleteIfExists(directory.incomingMark());
    } catch (IOException e) {
      log.warn("{}: when paused it will look as if it had just come in", name, e);
    }
  }

  @Override
  public void shutdown() throws HypervisorException, InterruptedException {
    monitor.execute("system_powerdown");
  }

  @Override
  public void restart() throws HypervisorException, InterruptedException {
    State state = state();
    switch (state) {
      case RUNNING, PAUSED, SHUTDOWN, CRASHED -> {}
      case INCOMING, RECEIVED, PRE_SWITCHOVER, SENT ->
          throw new HypervisorException(Kind.REFUSED, "a guest that is " + state + " stays so");
      case GONE -> throw new HypervisorException(Kind.GONE, "the guest's process is gone");
    }
    monitor.execute("system_reset");
    // The reset is done after the answer; only then has a guest left "shutdown".
    long end = System.nanoTime() + END_DEADLINE.toNanos();
    while (state() != State.RUNNING) {
      if (System.nanoTime() - end > 0) {
        throw new HypervisorException(
            Kind.TIMEOUT, "the guest does not run again within " + END_DEADLINE);
      }
      Thread.sleep(10);
      switch (state()) {
        case PAUSED, CRASHED -> monitor.execute("cont");
        default -> {}
      }
    }
  }

  @Override
  public void destroy() throws HypervisorException, InterruptedException {
    boolean alive = process.alive();
    if (alive) {
      process.kill();
      process.awaitEnd(END_DEADLINE);
    }
    if (tpm.isPresent()) {
      // What it keeps is whole once its process is gone.
      TpmEmulator.end(vm, tpm.get());
    }
    releaseNics();
    if (alive) {
      files.takeBackAll();
      try {
        // Only here: afterwards the directory may be that of the VM's next process.
        directory.remove();
      } catch (IOException e) {
        log.info("{} stays behind", directory.path(), e);
      }
    }
    monitor.close();
    gone();
  }

  private void releaseNics() throws InterruptedException {
    for (GuestSpec.Nic nic : hardware.spec().nics()) {
      try {
        NicBackend.release(nic, directory, files.user());
      } catch (HypervisorException e) {
        // The next start of the VM removes it.
        log.warn("the interface of {}'s card {} stays", name, nic.device(), e);
      }
    }
  }

  @Override
  public List<String> devices() {
    return hardware.spec().disks().stream().map(GuestSpec.Disk::device).toList();
  }

  @Override
  public SourceDisk source(String device) throws HypervisorException, InterruptedException {
    return source(device, 0);
  }

  @Override
  public SourceDisk source(String device, int layers)
      throws HypervisorException, InterruptedException {
    requireDisk(device);
    return BitmapSource.open(
            monitor, exports, name, GuestLauncher.nodeName(device), mirrorsOf(device))
        .withLayers(layers);
  }

  @Override
  public SourceDisk source(String device, int layers, String copy)
      throws HypervisorException, InterruptedException {
    requireDisk(device);
    return BitmapSource.open(
            monitor, exports, name, GuestLauncher.nodeName(device), mirrorsOf(device), copy)
        .withLayers(layers);
  }

  @Override
  public Optional<SourceDisk> sourceAgain(String device, int layers, String copy)
      throws HypervisorException, InterruptedException {
    requireDisk(device);
    return BitmapSource.takeUp(
            monitor, exports, name, GuestLauncher.nodeName(device), mirrorsOf(device), copy)
        .map(source -> source.withLayers(layers));
  }

  private BitmapSource.Mirrors mirrorsOf(String device) {
    return new BitmapSource.Mirrors() {
      @Override
      public BlockMirror start(BlockBackend sink, Duration patience)
          throws HypervisorException, InterruptedException {
        return BlockMirror.start(
            monitor, watchdog, files, directory.mirrorSocket(device), device, sink, patience);
      }

      @Override
      public void clear() throws HypervisorException, InterruptedException {
        new MirrorJob(monitor, device).abandon();
      }
    };
  }

  @Override
  public Snapshots.Content still(String device, int layers)
      throws HypervisorException, InterruptedException {
    requireDisk(device);
    return ImageContent.still(monitor, exports, GuestLauncher.nodeName(device), layers);
  }

  private void requireDisk(String device) throws HypervisorException {
    if (!devices().contains(device)) {
      throw new HypervisorException(Kind.REFUSED, "the guest has no disk " + device);
    }
  }

  @Override
  public void changeImages(List<NextImage> next) throws HypervisorException, InterruptedException {
    for (NextImage image : next) {
      hardware.access().allowNext(image.next());
    }
    images.change(next);
    hardware.noteImagesOrWarn();
  }

  @Override
  public Optional<ImageMerging> merging() {
    return Optional.of(merges);
  }

  @Override
  public void replaceImage(GuestSpec.Disk next) throws HypervisorException, InterruptedException {
    if (!next.readOnly() && state() == State.RUNNING && !image(next.device()).equals(next.file())) {
      throw new HypervisorException(
          Kind.REFUSED, "the guest runs: what it writes meanwhile would be lost");
    }
    hardware.replaceImage(next);
  }

  @Override
  public Path image(String device) throws HypervisorException, InterruptedException {
    return images.of(device);
  }

  @Override
  public void resize(String device, long bytes) throws HypervisorException, InterruptedException {
    images.resize(device, bytes);
  }

  @Override
  public void throttle(long bytesPerSecond) throws HypervisorException, InterruptedException {
    for (JsonNode block : monitor.execute("query-block")) {
      String node = block.path("inserted").path("node-name").asText();
      if (hardware.spec().disks().stream().anyMatch(d -> isNodeOf(d.device(), node))) {
        Map<String, Object> limits = new LinkedHashMap<>();
        limits.put("id", block.path("qdev").asText());
        for (String limit : List.of("bps", "bps_rd", "iops", "iops_rd")) {
          limits.put(limit, 0);
        }
        limits.put("bps_wr", Math.max(0, bytesPerSecond));
        limits.put("iops_wr", writesPerSecond(bytesPerSecond));
        // One group, one allowance for all disks.
        limits.put("group", "xenferry");
        monitor.execute("block_set_io_throttle", limits);
      }
    }
  }

  /** A write makes a block of the dirty bitmap dirty, however small it is. */
  private static long writesPerSecond(long bytesPerSecond) {
    return bytesPerSecond <= 0
        ? 0
        : Math.max(FEWEST_WRITES, bytesPerSecond / BitmapSource.GRANULARITY);
  }

  /** With a mirror a filter sits between the device and its disk. */
  static boolean isNodeOf(String device, String node) {
    return node.equals(GuestLauncher.nodeName(device)) || node.equals(MirrorJob.filterOf(device));
  }

  @Override
  public void sendMemory(Path unixSocket, long bytesPerSecond)
      throws HypervisorException, InterruptedException {
    files.allowSocket(unixSocket);
    memory.start(unixSocket, bytesPerSecond);
  }

  @Override
  public void limitMemory(long bytesPerSecond) throws HypervisorException, InterruptedException {
    memory.limit(bytesPerSecond);
  }

  @Override
  public void holdMemory() throws HypervisorException, InterruptedException {
    memory.hold();
  }

  @Override
  public void pauseForSwitch(Duration downtime) throws HypervisorException, InterruptedException {
    memory.pauseForSwitch(downtime);
  }

  @Override
  public void finishMemory() throws HypervisorException, InterruptedException {
    memory.finish();
  }

  @Override
  public void cancelSend() throws HypervisorException, InterruptedException {
    memory.cancel();
  }

  @Override
  public MemoryProgress memoryProgress() throws HypervisorException, InterruptedException {
    return memory.progress();
  }

  @Override
  public Path incomingSocket() {
    return directory.incomingSocket();
  }

  @Override
  public Path outgoingSocket() {
    return directory.outgoingSocket();
  }

  @Override
  public void activate() throws HypervisorException, InterruptedException {
    State state = state();
    if (state != State.RECEIVED) {
      throw new HypervisorException(
          state == State.GONE ? Kind.GONE : Kind.REFUSED,
          "only a guest that was received can be activated, not one that is " + state);
    }
    // The firmware's variables are opened by cont, which fails if they cannot be.
    for (GuestSpec.Disk disk : writableDisks()) {
      exports.activate(GuestLauncher.nodeName(disk.device()));
    }
    // Whether it could open them for writing it does not say.
    ImageLocks locks = ImageLocks.now(process);
    for (GuestSpec.Disk disk : writableDisks()) {
      if (!locks.check(disk)) {
        throw new HypervisorException(
            Kind.REFUSED, disk.device() + ": the guest does not open " + disk.file());
      }
    }
  }

  private void checkNobodyElseWrites() throws HypervisorException {
    ImageLocks locks = ImageLocks.now(process);
    for (GuestSpec.Disk disk : writableDisks()) {
      locks.check(disk);
    }
  }

  private List<GuestSpec.Disk> writableDisks() {
    return hardware.spec().disks().stream().filter(disk -> !disk.readOnly()).toList();
  }

  @Override
  public void announce() throws HypervisorException, InterruptedException {
    monitor.execute("announce-self", Map.of("initial", 50, "max", 550, "rounds", 5, "step", 100));
  }

  @Override
  public AutoCloseable onClock(Consumer<Duration> listener) {
    clockListeners.add(listener);
    return () -> clockListeners.remove(listener);
  }

  @Override
  public AutoCloseable onChange(Consumer<State> listener) {
    listeners.add(listener);
    return () -> listeners.remove(listener);
  }

  /** Ends the watching and the connection; the guest goes on. */
  void letGo() {
    letGo = true;
    monitor.close();
  }

  private void event(QmpEvent event) {
    switch (event.name()) {
      case "STOP",
          "RESUME",
          "RESET",
          "GUEST_PANICKED",
          "SHUTDOWN",
          "MIGRATION",
          "SUSPEND",
          "WAKEUP" ->
          tellState();
      case "RTC_CHANGE" -> tellClock(event.payload().path("offset").asLong());
      default -> {}
    }
  }

  /**
   * @param seconds by which the clock is ahead of what it would be, had nobody set it since the
   *     process began
   */
  private void tellClock(long seconds) {
    // As much as QEMU can say: no sum of them overflows.
    if (Math.abs(seconds) < Integer.MAX_VALUE * 1000L) {
      Duration ahead = hardware.spec().clock().plusSeconds(seconds);
      clockListeners.forEach(listener -> listener.accept(ahead));
    }
  }

  private void tellState() {
    if (letGo) {
      return;
    }
    try {
      tell(state());
    } catch (HypervisorException e) {
      log.info("{}: its state is unknown for now: {}", name, e.getMessage());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void tell(State state) {
    State last = told.getAndSet(state);
    if (last == State.GONE) {
      told.set(State.GONE);
    } else if (state != last) {
      if (state == State.GONE) {
        onGone.run();
      }
      listeners.forEach(listener -> listener.accept(state));
    }
  }

  private void gone() {
    if (!letGo) {
      tell(State.GONE);
    }
  }

  private void watch() {
    try {
      while (!letGo && process.alive()) {
        Thread.sleep(WATCH);
      }
      gone();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
