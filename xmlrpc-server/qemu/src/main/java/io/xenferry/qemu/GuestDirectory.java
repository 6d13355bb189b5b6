package io.xenferry.qemu;

import io.xenferry.block.OwnerOnly;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;

/**
 * What is kept of a guest on this host while it lives: one directory, named by the VM's uuid, that
 * a later server finds. It holds {@code spec.json}, {@code pid}, {@code qmp.sock}, {@code
 * watchdog.sock}, {@code nbd.sock}, {@code incoming.sock}, {@code outgoing.sock} while its memory
 * is sent, {@code m-DEVICE.sock} while a disk is mirrored, {@code agent.sock} where its machine has
 * a port for an agent, {@code guest.log} (the process's stdout and stderr), and {@code incoming} as
 * long as the guest has not run since it was started for a memory stream. A guest with a TPM has
 * {@code tpm.sock}, {@code tpm.pid} and {@code tpm.log} as well, one with a user of its own {@code
 * granted} and {@code own.pid}.
 *
 * @param path by which its files are known for good
 * @param sockets the same directory by a name that is short enough for sockets, for now
 */
public record GuestDirectory(Path path, Path sockets) {
  /** Bytes. The kernel takes 107 and the end of the string; the JDK wants one more to spare. */
  static final int SOCKET_PATH_LIMIT = 106;

  public Path specFile() {
    return path.resolve("spec.json");
  }

  public Path pidFile() {
    return path.resolve("pid");
  }

  /** Where a process of a user of its own writes its id; nobody reads what it says. */
  Path ownPidFile() {
    return path.resolve("own.pid");
  }

  public Path qmpSocket() {
    return sockets.resolve("qmp.sock");
  }

  /**
   * A second monitor, for the watchdog alone: it takes {@code yank} out of band while the first one
   * is stuck behind a write that nobody answers.
   */
  public Path watchdogSocket() {
    return sockets.resolve("watchdog.sock");
  }

  /** Where this server takes the mirrored writes of a disk. */
  Path mirrorSocket(String device) {
    return sockets.resolve("m-" + device + ".sock");
  }

  /**
   * @param port from 0, the console
   */
  public Path serialSocket(int port) {
    return sockets.resolve(port == 0 ? "serial.sock" : "serial" + port + ".sock");
  }

  public Path vncSocket() {
    return sockets.resolve("vnc.sock");
  }

  public Path nbdSocket() {
    return sockets.resolve("nbd.sock");
  }

  public Path incomingSocket() {
    return longestSocket(sockets);
  }

  /** Where the server listens for the memory that the guest sends. */
  Path outgoingSocket() {
    return sockets.resolve("outgoing.sock");
  }

  /** The host's end of the guest agent's port. */
  public Path agentSocket() {
    return sockets.resolve("agent.sock");
  }

  /** All at which the guest's process may listen for the server. */
  List<Path> served() {
    return Stream.of(
            qmpSocket(),
            watchdogSocket(),
            serialSocket(0),
            serialSocket(1),
            serialSocket(2),
            serialSocket(3),
            vncSocket(),
            agentSocket(),
            nbdSocket(),
            incomingSocket())
        .toList();
  }

  /** Where QEMU controls the guest's TPM. */
  Path tpmSocket() {
    return sockets.resolve("tpm.sock");
  }

  Path tpmPidFile() {
    return path.resolve("tpm.pid");
  }

  Path tpmLogFile() {
    return path.resolve("tpm.log");
  }

  static Path longestSocket(Path directory) {
    return directory.resolve("incoming.sock");
  }

  public Path logFile() {
    return path.resolve("guest.log");
  }

  Path incomingMark() {
    return path.resolve("incoming");
  }

  /** Makes the directory, for its owner only, and writes the spec durably. */
  void create(GuestSpec spec, boolean incoming) throws HypervisorException {
    try {
      remove();
      Files.createDirectories(
          path, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
      if (incoming) {
        Files.createFile(incomingMark());
      }
      writeSpec(spec);
    } catch (IOException e) {
      throw new HypervisorException(Kind.REFUSED, "cannot prepare " + path + ": " + e, e);
    }
  }

  /** Writes the spec durably, in place of the one before. */
  void writeSpec(GuestSpec spec) throws IOException {
    write(specFile(), SpecFile.write(spec));
  }

  /** Writes down the process's id, for one that cannot itself. */
  void writePid(long pid) throws IOException {
    write(pidFile(), Long.toString(pid).getBytes(StandardCharsets.US_ASCII));
  }

  /** The guest's process may put what it likes where the draft shall be: it must be a new file. */
  private void write(Path to, byte[] content) throws IOException {
    Path draft = path.resolve(to.getFileName() + ".new");
    Files.deleteIfExists(draft);
    try (FileChannel file =
        FileChannel.open(
            draft,
            Set.of(StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE),
            OwnerOnly.file())) {
      ByteBuffer text = ByteBuffer.wrap(content);
      while (text.hasRemaining()) {
        file.write(text);
      }
      file.force(true);
    }
    Files.move(draft, to, StandardCopyOption.ATOMIC_MOVE);
  }

  /** Removes all of it but the log of the last process. */
  void remove() throws IOException {
    if (!Files.isDirectory(path)) {
      return;
    }
    try (Stream<Path> entries = Files.list(path)) {
      for (Path entry : entries.toList()) {
        if (!entry.equals(logFile())) {
          Files.deleteIfExists(entry);
        }
      }
    }
  }

  /** Removes all of it. */
  void delete() throws IOException {
    remove();
    Files.deleteIfExists(logFile());
    Files.deleteIfExists(path);
  }

  GuestSpec readSpec() throws IOException {
    return SpecFile.read(specFile());
  }
}
