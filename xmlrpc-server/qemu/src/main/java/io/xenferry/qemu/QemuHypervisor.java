package io.xenferry.qemu;

import io.xenferry.qemu.access.GuestFiles;
import io.xenferry.qemu.access.GuestUser;
import io.xenferry.qemu.access.GuestUsers;
import io.xenferry.spi.Guest;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.Hypervisor;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Predicate;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Guests that speak QMP, each a process in a session of its own with a directory below the run
 * directory (see {@link GuestDirectory}), by which a later server finds it. Two servers must not
 * share a run directory.
 */
public final class QemuHypervisor implements Hypervisor {
  private static final Logger log = LoggerFactory.getLogger(QemuHypervisor.class);

  /** A guest that is busy takes seconds to let a device go; one without a driver never does. */
  static final Duration RELEASE_DEADLINE = Duration.ofSeconds(30);

  private final GuestLauncher launcher;
  private final RunDirectory runDirectory;
  private final Duration releaseDeadline;
  private final GuestUsers users;
  private final Map<UUID, QmpGuest> known = new HashMap<>();
  private final ReentrantLock lock = new ReentrantLock();

  /**
   * @param runDirectory made if missing
   */
  public QemuHypervisor(GuestLauncher launcher, Path runDirectory) {
    this(launcher, runDirectory, RELEASE_DEADLINE);
  }

  /**
   * @param runDirectory made if missing
   * @param releaseDeadline how long a guest may take to let a device go
   */
  public QemuHypervisor(GuestLauncher launcher, Path runDirectory, Duration releaseDeadline) {
    this(launcher, runDirectory, releaseDeadline, new GuestUsers.Server());
  }

  /**
   * @param runDirectory made if missing
   * @param releaseDeadline how long a guest may take to let a device go
   * @param users as whom guests run that are started from now on
   */
  public QemuHypervisor(
      GuestLauncher launcher, Path runDirectory, Duration releaseDeadline, GuestUsers users) {
    this.launcher = launcher;
    this.releaseDeadline = releaseDeadline;
    this.users = users;
    this.runDirectory = new RunDirectory(runDirectory);
  }

  @Override
  public String name() {
    return launcher.name();
  }

  @Override
  public Map<String, String> newMachine() throws HypervisorException, InterruptedException {
    return launcher.newMachine();
  }

  @Override
  public Optional<String> refusal(GuestSpec.Machine machine)
      throws HypervisorException, InterruptedException {
    return launcher.refusal(machine);
  }

  @Override
  public boolean opens(String format) {
    return launcher.opens(format);
  }

  @Override
  public Guest start(GuestSpec spec, boolean paused)
      throws HypervisorException, InterruptedException {
    return launch(spec, paused ? GuestLauncher.Mode.PAUSED : GuestLauncher.Mode.RUNNING);
  }

  @Override
  public Guest startIncoming(GuestSpec spec) throws HypervisorException, InterruptedException {
    return launch(spec, GuestLauncher.Mode.INCOMING);
  }

  private Guest launch(GuestSpec spec, GuestLauncher.Mode mode)
      throws HypervisorException, InterruptedException {
    GuestDirectory directory;
    QmpGuest guest;
    long logged;
    lock.lockInterruptibly();
    try {
      directory = runDirectory.guest(spec.vm());
      if (adopt(spec.vm()).isPresent()) {
        throw new HypervisorException(Kind.REFUSED, "VM " + spec.vm() + " already has a process");
      }
      List<String> command = launcher.command(spec, directory, mode);
      // Of a guest that is gone; it must be gone as well before its files go.
      endLeavings(directory);
      directory.create(spec, mode == GuestLauncher.Mode.INCOMING);
      // What an earlier process said stays in the log, and is not this one's.
      logged = directory.logFile().toFile().length();
      Optional<GuestUser> user = users.of(directory.path());
      GuestFiles files = GuestFiles.begin(directory.path(), directory.sockets(), user);
      try {
        files.allow(spec);
        launcher.prepare(spec, directory, user);
        guest = remember(spec, directory, spawn(command, directory, user, logged), files);
      } catch (HypervisorException e) {
        endLeavings(directory);
        throw launcher.invalid(spec, String.valueOf(e.getMessage())).orElse(e);
      }
    } finally {
      lock.unlock();
    }
    try {
      guest.settle(mode == GuestLauncher.Mode.INCOMING);
      launcher.started(spec, directory);
      guest.hardware().schedule();
      // With the memory of another comes what its balloon was to take.
      if (mode != GuestLauncher.Mode.INCOMING && spec.memory().target() < spec.memory().maximum()) {
        guest.hardware().setMemoryTarget(spec.memory().target());
      }
      return guest;
    } catch (HypervisorException e) {
      guest.destroy();
      throw notStarted(spec, lastWords(directory, logged, e), e);
    } catch (InterruptedException e) {
      guest.process().kill();
      throw e;
    }
  }

  private HypervisorException notStarted(GuestSpec spec, String words, HypervisorException e) {
    Kind kind = e.kind() == Kind.GONE ? Kind.REFUSED : e.kind();
    HypervisorException failure =
        new HypervisorException(kind, spec.name() + " did not start: " + words, e);
    Optional<HypervisorException> invalid = launcher.invalid(spec, words);
    invalid.ifPresent(known -> known.initCause(failure));
    return invalid.orElse(failure);
  }

  /** Takes away what a guest had that is gone. */
  private static void endLeavings(GuestDirectory directory)
      throws HypervisorException, InterruptedException {
    TpmEmulator.end(directory);
    GuestFiles.found(directory.path()).takeBackAll();
  }

  private GuestProcess spawn(
      List<String> program, GuestDirectory directory, Optional<GuestUser> user, long logged)
      throws HypervisorException {
    List<String> command = new ArrayList<>(List.of("setsid"));
    if (user.isPresent()) {
      command.addAll(user.get().command(launcher.groups()));
    }
    for (String word : program) {
      // Its own note of its process id is not ours.
      boolean note = user.isPresent() && word.equals(directory.pidFile().toString());
      command.add(note ? directory.ownPidFile().toString() : word);
    }
    try {
      // A session of its own: what ends the server's terminal or group does not reach the guest.
      // setsid(1) becomes the program without a fork, since a child of the JVM leads no group.
      Process process =
          new ProcessBuilder(command)
              .directory(directory.path().toFile())
              .redirectInput(ProcessBuilder.Redirect.from(Path.of("/dev/null").toFile()))
              .redirectOutput(ProcessBuilder.Redirect.appendTo(directory.logFile().toFile()))
              .redirectErrorStream(true)
              .start();
      if (user.isPresent()) {
        try {
          directory.writePid(process.pid());
        } catch (IOException e) {
          process.destroyForcibly();
          throw e;
        }
      }
      return GuestProcess.of(process.pid())
          .orElseThrow(() ->
              new HypervisorException(
                  Kind.REFUSED, "it ended at once: " + tail(directory.logFile(), logged)));
    } catch (IOException e) {
      throw new HypervisorException(Kind.REFUSED, "cannot start " + program.getFirst(), e);
    }
  }

  private static String lastWords(GuestDirectory directory, long logged, HypervisorException e) {
    String words = tail(directory.logFile(), logged);
    return words.isBlank() ? String.valueOf(e.getMessage()) : words;
  }

  /** The end of a log, some lines of it, of what came after its first so many bytes. */
  private static String tail(Path file, long logged) {
    try (RandomAccessFile log = new RandomAccessFile(file.toFile(), "r")) {
      byte[] end = new byte[Math.clamp(log.length() - logged, 0, 600)];
      log.seek(log.length() - end.length);
      log.readFully(end);
      return new String(end, StandardCharsets.UTF_8).strip();
    } catch (IOException e) {
      return "";
    }
  }

  private QmpGuest remember(
      GuestSpec spec, GuestDirectory directory, GuestProcess process, GuestFiles files) {
    QmpGuest guest =
        new QmpGuest(
            spec, directory, process, files, releaseDeadline, () -> forget(spec.vm(), process));
    known.put(spec.vm(), guest);
    return guest;
  }

  private void forget(UUID vm, GuestProcess process) {
    lock.lock();
    try {
      QmpGuest guest = known.get(vm);
      if (guest != null && guest.process() == process) {
        known.remove(vm);
        guest.files().takeBackAll();
      }
    } finally {
      lock.unlock();
    }
  }

  @Override
  public List<Guest> guests() throws HypervisorException, InterruptedException {
    List<Guest> found = new ArrayList<>();
    lock.lockInterruptibly();
    try {
      for (UUID vm : runDirectory.guests()) {
        Optional<QmpGuest> guest = adoptReadable(vm);
        guest.ifPresent(found::add);
        if (guest.isEmpty() && !runs(vm)) {
          // A server that was killed may have started it and not yet the guest.
          endLeavings(runDirectory.guest(vm));
        }
      }
    } catch (IOException e) {
      throw new HypervisorException(Kind.REFUSED, "cannot list " + runDirectory.path(), e);
    } finally {
      lock.unlock();
    }
    return found;
  }

  @Override
  public Optional<Guest> find(UUID vm) throws HypervisorException, InterruptedException {
    lock.lockInterruptibly();
    try {
      return adopt(vm).map(guest -> guest);
    } finally {
      lock.unlock();
    }
  }

  private boolean runs(UUID vm) throws HypervisorException {
    return process(runDirectory.guest(vm)).isPresent();
  }

  private Optional<QmpGuest> adoptReadable(UUID vm) {
    try {
      return adopt(vm);
    } catch (HypervisorException e) {
      log.error("VM {} cannot be adopted", vm, e);
      return Optional.empty();
    }
  }

  /** The live guest, known or found; the lock is held. */
  private Optional<QmpGuest> adopt(UUID vm) throws HypervisorException {
    QmpGuest guest = known.get(vm);
    if (guest != null && guest.process().alive()) {
      return Optional.of(guest);
    }
    GuestDirectory directory = runDirectory.guest(vm);
    if (!Files.exists(directory.specFile())) {
      return Optional.empty();
    }
    Optional<GuestProcess> process = process(directory);
    if (process.isEmpty()) {
      return Optional.empty();
    }
    try {
      log.info("adopting VM {}, process {}", vm, process.get().pid());
      GuestFiles files = GuestFiles.found(directory.path());
      restore(files, directory, vm);
      files.keep(directory.served());
      QmpGuest found = remember(directory.readSpec(), directory, process.get(), files);
      Thread.ofVirtual().name("recover " + vm).start(() -> recover(found));
      return Optional.of(found);
    } catch (IOException e) {
      throw new HypervisorException(
          Kind.PROTOCOL,
          "VM " + vm + " runs as process " + process.get().pid() + " but its spec is unreadable",
          e);
    }
  }

  /** The guest runs with what it has; without these it only can have less. */
  private static void restore(GuestFiles files, GuestDirectory directory, UUID vm) {
    try {
      files.restore(directory.sockets());
    } catch (HypervisorException e) {
      log.warn("VM {} may lack access to its files", vm, e);
    }
  }

  /** The live process of a guest, whoever started it. */
  private static Optional<GuestProcess> process(GuestDirectory directory)
      throws HypervisorException {
    Optional<GuestUser> user = GuestFiles.found(directory.path()).user();
    return user.isPresent()
        ? GuestProcess.startedWith(directory.pidFile(), directory.ownPidFile().toString())
            .filter(process -> process.isOf(user.get().uid()))
        : GuestProcess.startedWith(directory.pidFile());
  }

  /** What an earlier server was about to plug when it died. */
  private static void recover(QmpGuest guest) {
    try {
      guest.hardware().recover();
    } catch (HypervisorException e) {
      if (e.kind() != Kind.GONE) {
        log.warn("VM {} may have fewer devices than its spec names", guest.vm(), e);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  @Override
  public void removeLeavings(Predicate<UUID> known)
      throws HypervisorException, InterruptedException {
    List<UUID> present;
    try {
      present = runDirectory.guests();
    } catch (IOException e) {
      throw new HypervisorException(Kind.REFUSED, "cannot list " + runDirectory.path(), e);
    }
    for (UUID vm : present) {
      if (!known.test(vm)) {
        // A guest's directory is made, and its process started, under the same lock.
        lock.lockInterruptibly();
        try {
          removeLeavings(vm, known);
        } catch (IOException e) {
          log.warn("something of the former guest of VM {} stays", vm, e);
        } finally {
          lock.unlock();
        }
      }
    }
  }

  private void removeLeavings(UUID vm, Predicate<UUID> known)
      throws IOException, HypervisorException, InterruptedException {
    Path path = runDirectory.path().resolve(vm.toString());
    GuestDirectory directory = new GuestDirectory(path, path);
    QmpGuest guest = this.known.get(vm);
    if (guest != null && guest.process().alive()
        || process(directory).isPresent()
        || known.test(vm)) {
      return;
    }
    endLeavings(directory);
    directory.delete();
  }

  @Override
  public void close() {
    lock.lock();
    try {
      known.values().forEach(QmpGuest::letGo);
      known.clear();
      runDirectory.close();
    } finally {
      lock.unlock();
    }
  }
}
