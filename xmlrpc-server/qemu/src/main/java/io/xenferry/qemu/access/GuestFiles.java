package io.xenferry.qemu.access;

import io.xenferry.block.OwnerOnly;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.GuestSpec.Boot;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.locks.ReentrantLock;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What of this host's files a guest's user may have. Each is noted durably in the guest's
 * directory, in {@code granted}, before the entry in its access control list is made, so that
 * whichever server comes next can take it back. A guest that runs as the server needs nothing of
 * this, and has no notes. Thread-safe.
 *
 * <p>The guest's directory is the server's; its user may make files in it, but neither remove nor
 * replace those of others (it is sticky). So what the server reads there it must have written
 * itself, and whatever it writes there must be new.
 */
public final class GuestFiles {
  /** In the guest's directory: {@code user UID GID}, then {@code PERMISSIONS PATH} each. */
  private static final String NOTES = "granted";

  private static final int STICKY = 01700;

  private static final Path HOME = Path.of(System.getProperty("user.home", "/"));

  private static final Logger log = LoggerFactory.getLogger(GuestFiles.class);

  private final Path directory;
  private final Optional<GuestUser> user;
  private final ReentrantLock lock = new ReentrantLock();

  /** By path; guarded by the lock. */
  private final Map<Path, Integer> granted = new LinkedHashMap<>();

  private GuestFiles(Path directory, Optional<GuestUser> user) {
    this.directory = directory;
    this.user = user;
  }

  /**
   * For a guest that is about to start, whose directory is new.
   *
   * @param sockets another name of the directory, by which its sockets are reached
   */
  public static GuestFiles begin(Path directory, Path sockets, Optional<GuestUser> user)
      throws HypervisorException {
    GuestFiles files = new GuestFiles(directory, user);
    if (user.isPresent()) {
      files.guarded(() -> {
        Files.setAttribute(directory, "unix:mode", STICKY);
        files.write();
        files.letPass(directory.toAbsolutePath().getParent());
        files.letPass(sockets.toAbsolutePath().getParent());
        AccessList.allowUser(
            directory, user.get().uid(), AccessList.READ | AccessList.WRITE | AccessList.SEARCH);
      });
    }
    return files;
  }

  /** As an earlier server, or an earlier guest of the VM, has left it. */
  public static GuestFiles found(Path directory) throws HypervisorException {
    Path notes = directory.resolve(NOTES);
    try {
      return read(directory, Files.readAllLines(notes));
    } catch (NoSuchFileException e) {
      return new GuestFiles(directory, Optional.empty());
    } catch (IOException | IllegalArgumentException | IndexOutOfBoundsException e) {
      throw new HypervisorException(Kind.REFUSED, notes + " cannot be read: " + e, e);
    }
  }

  private static GuestFiles read(Path directory, List<String> lines) {
    String[] who = lines.getFirst().split(" ");
    GuestFiles files =
        new GuestFiles(
            directory,
            Optional.of(new GuestUser(Integer.parseInt(who[1]), Integer.parseInt(who[2]))));
    for (String line : lines.subList(1, lines.size())) {
      int space = line.indexOf(' ');
      // The last line may have been cut off before its effect.
      if (space == 1) {
        files.granted.put(Path.of(line.substring(2)), Integer.parseInt(line.substring(0, 1)));
      }
    }
    return files;
  }

  /** As whom the guest runs; empty for the server's own user. */
  public Optional<GuestUser> user() {
    return user;
  }

  /** All that the guest begins with. */
  public void allow(GuestSpec spec) throws HypervisorException {
    for (GuestSpec.Disk disk : spec.disks()) {
      allowImage(disk.file(), disk.format(), !disk.readOnly());
    }
    for (GuestSpec.CdDrive drive : spec.drives()) {
      if (drive.medium().isPresent()) {
        allowImage(drive.medium().get().file(), drive.medium().get().format(), false);
      }
    }
    switch (spec.boot()) {
      case Boot.Bios bios -> {}
      case Boot.Uefi uefi -> {
        allow(uefi.code(), AccessList.READ);
        allow(uefi.variables(), AccessList.READ | AccessList.WRITE);
      }
      case Boot.Kernel kernel -> {
        allow(kernel.kernel(), AccessList.READ);
        if (kernel.ramdisk().isPresent()) {
          allow(kernel.ramdisk().get(), AccessList.READ);
        }
      }
    }
    if (spec.tpm().isPresent()) {
      allowDirectory(spec.tpm().get());
    }
  }

  /** An image, and those that it is based on, which are read only. */
  public void allowImage(Path image, String format, boolean writable) throws HypervisorException {
    if (user.isEmpty()) {
      return;
    }
    allow(image, writable ? AccessList.READ | AccessList.WRITE : AccessList.READ);
    for (Path base : chain(image, format)) {
      allow(base, AccessList.READ);
    }
  }

  /**
   * What is written when an image is merged into the one below it: that one, and at the end the
   * header of the image above both.
   *
   * @param top what the disk writes; names the others by what it rests on
   */
  public void allowMerge(Path top, Path upper, Path lower) throws HypervisorException {
    if (user.isEmpty()) {
      return;
    }
    List<Path> all = new ArrayList<>(List.of(top));
    all.addAll(chain(top, "qcow2"));
    int place = all.indexOf(upper);
    if (place < 0) {
      throw new HypervisorException(Kind.REFUSED, top + " does not rest on " + upper);
    }
    allow(lower, AccessList.READ | AccessList.WRITE);
    if (place > 0) {
      allow(all.get(place - 1), AccessList.READ | AccessList.WRITE);
    }
  }

  /**
   * What lies below images that disks are on is only read from now on; files that are not there any
   * more are forgotten.
   *
   * @param written images that are written, with their formats
   */
  public void settleImages(Map<Path, String> written) throws HypervisorException {
    if (user.isEmpty()) {
      return;
    }
    Set<Path> below = new HashSet<>();
    for (Map.Entry<Path, String> each : written.entrySet()) {
      below.addAll(chain(each.getKey(), each.getValue()));
    }
    below.removeAll(written.keySet());
    guarded(() -> {
      Map<Path, Integer> before = Map.copyOf(granted);
      granted.keySet().removeIf(file -> !Files.exists(file, LinkOption.NOFOLLOW_LINKS));
      for (Path file : below) {
        if ((granted.getOrDefault(file, 0) & AccessList.WRITE) != 0) {
          AccessList.allowUser(file, user.get().uid(), AccessList.READ);
          granted.put(file, AccessList.READ);
        }
      }
      if (!granted.equals(before)) {
        write();
      }
    });
  }

  private static List<Path> chain(Path image, String format) throws HypervisorException {
    try {
      return QcowChain.below(image, format);
    } catch (IOException e) {
      throw new HypervisorException(Kind.REFUSED, "what is below " + image + ": " + e, e);
    }
  }

  /** A socket at which the server listens for the guest's process; it ends with the directory. */
  public void allowSocket(Path socket) throws HypervisorException {
    if (user.isPresent()) {
      guarded(() -> {
        Path parent = socket.toAbsolutePath().getParent();
        letPass(directory.equals(parent) ? directory.getParent() : parent);
        AccessList.allowUser(socket, user.get().uid(), AccessList.READ | AccessList.WRITE);
      });
    }
  }

  /**
   * Makes sockets at which the guest's process listens the server's, so that the process cannot put
   * another in their place, one of another guest's say: in a sticky directory only owners may.
   *
   * @param sockets those that there are; one that is something else is refused
   */
  public void keep(List<Path> sockets) throws HypervisorException {
    if (user.isEmpty()) {
      return;
    }
    guarded(() -> {
      for (Path socket : sockets) {
        if (!Files.exists(socket, LinkOption.NOFOLLOW_LINKS)) {
          continue;
        }
        Files.setAttribute(
            socket, "unix:uid", AccessList.owner(Path.of("/proc/self")), LinkOption.NOFOLLOW_LINKS);
        if (!Files.readAttributes(socket, BasicFileAttributes.class, LinkOption.NOFOLLOW_LINKS)
            .isOther()) {
          throw new IOException(socket + " is no socket");
        }
      }
    });
  }

  private void allowDirectory(Path path) throws HypervisorException {
    if (user.isEmpty()) {
      return;
    }
    guarded(() -> {
      Files.createDirectories(path);
      Files.setAttribute(path, "unix:mode", 0700);
    });
    allow(path, AccessList.READ | AccessList.WRITE | AccessList.SEARCH);
    List<Path> entries = new ArrayList<>();
    guarded(() -> {
      try (Stream<Path> list = Files.list(path)) {
        list.filter(entry -> Files.isRegularFile(entry, LinkOption.NOFOLLOW_LINKS))
            .forEach(entries::add);
      }
    });
    for (Path entry : entries) {
      allow(entry, AccessList.READ | AccessList.WRITE);
    }
  }

  private void allow(Path file, int permissions) throws HypervisorException {
    if (user.isEmpty()) {
      return;
    }
    guarded(() -> {
      letPass(file.toAbsolutePath().getParent());
      letPass(file.toRealPath().getParent());
      int wanted = permissions | granted.getOrDefault(file, 0);
      if ((AccessList.others(file) & wanted) == wanted) {
        return; // everybody may
      }
      if (granted.getOrDefault(file, 0) != wanted) {
        granted.put(file, wanted);
        write();
      }
      AccessList.allowUser(file, user.get().uid(), wanted);
    });
  }

  /** Lets the guests' group pass through a directory and all above it. */
  private void letPass(@Nullable Path path) throws IOException {
    for (Path each = path; each != null; each = each.getParent()) {
      int gid = user.orElseThrow().gid();
      if ((AccessList.others(each) & AccessList.SEARCH) == 0
          && !AccessList.letsGroup(each, gid, AccessList.SEARCH)) {
        boolean foreign = AccessList.owner(each) != AccessList.owner(Path.of("/proc/self"));
        if (foreign || each.equals(HOME)) {
          // What else is in it is not the server's to judge.
          throw new IOException(
              "guests may not pass through %s: keep their files elsewhere, or setfacl -m g:%d:x %s"
                  .formatted(each, gid, each));
        }
        AccessList.allowGroup(each, gid, AccessList.SEARCH);
      }
    }
  }

  /**
   * Takes back what lies below images that the guest has let go, but for what it still uses.
   *
   * @param used images that it has, with their formats
   */
  public void takeBack(Path image, String format, Map<Path, String> used)
      throws HypervisorException {
    if (user.isEmpty()) {
      return;
    }
    List<Path> back = new ArrayList<>(List.of(image));
    try {
      back.addAll(QcowChain.below(image, format));
    } catch (IOException e) {
      // Nothing below it has been given then, or its end takes it back.
      log.info("what is below {} is not known", image, e);
    }
    for (Map.Entry<Path, String> each : used.entrySet()) {
      back.remove(each.getKey());
      back.removeAll(chain(each.getKey(), each.getValue()));
    }
    takeBack(back);
  }

  /** The guest's processes are gone: takes back everything. What cannot be stays noted. */
  public void takeBackAll() {
    lock.lock();
    try {
      takeBack(List.copyOf(granted.keySet()));
    } finally {
      lock.unlock();
    }
  }

  private void takeBack(Collection<Path> files) {
    lock.lock();
    try {
      boolean changed = false;
      for (Path file : files) {
        if (granted.containsKey(file) && forbidden(file)) {
          granted.remove(file);
          changed = true;
        }
      }
      if (changed) {
        write();
      }
    } catch (IOException e) {
      log.warn("what a guest may have is not noted in {}", directory, e);
    } finally {
      lock.unlock();
    }
  }

  private boolean forbidden(Path file) {
    try {
      if (!usedByAnother(file)) {
        AccessList.forbidUser(file, user.orElseThrow().uid());
      }
      return true;
    } catch (NoSuchFileException e) {
      return true;
    } catch (IOException e) {
      log.warn("user {} still may have {}", user.orElseThrow().uid(), file, e);
      return false;
    }
  }

  /** Whether another guest of the same user has been given the file; there is one rarely. */
  private boolean usedByAnother(Path file) throws IOException {
    Path guests = directory.toAbsolutePath().getParent();
    if (guests == null) {
      return false;
    }
    List<Path> others;
    try (Stream<Path> list = Files.list(guests)) {
      others = list.filter(o -> !o.equals(directory) && Files.isDirectory(o)).toList();
    }
    for (Path other : others) {
      try {
        GuestFiles notes = found(other);
        if (notes.user.isPresent()
            && notes.user.get().uid() == user.orElseThrow().uid()
            && notes.granted.containsKey(file)) {
          return true;
        }
      } catch (HypervisorException e) {
        log.warn("what the guest in {} has is not known", other, e);
        return true;
      }
    }
    return false;
  }

  /**
   * Makes every entry again: somebody may have changed the modes of directories or of files.
   *
   * @param sockets another name of the guest's directory, by which its sockets are reached
   */
  public void restore(Path sockets) throws HypervisorException {
    if (user.isEmpty()) {
      return;
    }
    guarded(() -> {
      letPass(directory.toAbsolutePath().getParent());
      letPass(sockets.toAbsolutePath().getParent());
      AccessList.allowUser(
          directory, user.get().uid(), AccessList.READ | AccessList.WRITE | AccessList.SEARCH);
      for (Map.Entry<Path, Integer> each : granted.entrySet()) {
        Path file = each.getKey();
        try {
          letPass(file.toAbsolutePath().getParent());
          letPass(file.toRealPath().getParent());
          AccessList.allowUser(file, user.get().uid(), each.getValue());
        } catch (NoSuchFileException e) {
          log.debug("{} is gone", file, e);
        }
      }
    });
  }

  private void write() throws IOException {
    StringBuilder text = new StringBuilder();
    text.append("user ").append(user.orElseThrow().uid());
    text.append(' ').append(user.orElseThrow().gid()).append('\n');
    for (Map.Entry<Path, Integer> each : granted.entrySet()) {
      String path = each.getKey().toString();
      if (path.indexOf('\n') >= 0) {
        throw new IOException("no file of a guest may have a name of two lines");
      }
      text.append(each.getValue()).append(' ').append(path).append('\n');
    }
    Path draft = directory.resolve(NOTES + ".new");
    Files.deleteIfExists(draft);
    try (FileChannel file =
        FileChannel.open(
            draft,
            Set.of(StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE),
            OwnerOnly.file())) {
      ByteBuffer bytes = ByteBuffer.wrap(text.toString().getBytes(StandardCharsets.UTF_8));
      while (bytes.hasRemaining()) {
        file.write(bytes);
      }
      file.force(true);
    }
    Files.move(draft, directory.resolve(NOTES), StandardCopyOption.ATOMIC_MOVE);
  }

  private interface Step {
    void run() throws IOException;
  }

  private void guarded(Step step) throws HypervisorException {
    lock.lock();
    try {
      step.run();
    } catch (IOException e) {
      throw new HypervisorException(
          Kind.REFUSED,
          "user "
              + user.orElseThrow().uid()
              + ", as whom the guest is to run, cannot be given what it needs: "
              + (e.getMessage() == null ? e : e.getMessage())
              + " (--guest-user says as whom guests run)",
          e);
    } finally {
      lock.unlock();
    }
  }
}
