package io.xenferry.server.vm;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What the TPMs of this host's VMs keep: the secret that VTPM.contents names while a VM does not
 * run, and a directory beside its process while it does. The same rule holds as for {@link
 * FirmwareVariables}: a directory with a state in it is at least as new as the record.
 *
 * <p>The value is base64 of the state file of swtpm. Thread-safe; the caller sees to it that one
 * operation at a time concerns a VM.
 */
public final class TpmStates {
  private static final Logger log = LoggerFactory.getLogger(TpmStates.class);

  /** Characters of a value. A TPM's non-volatile memory is some KiB, and 128 KiB at most. */
  public static final int LIMIT = 512 << 10;

  /** As swtpm calls it. */
  private static final String STATE = "tpm2-00.permall";

  private final Path directory;

  /**
   * @param directory of the server's own; made when it is needed
   */
  TpmStates(Path directory) {
    this.directory = directory;
  }

  private Path of(UUID vm) {
    return directory.resolve(vm.toString());
  }

  private Path state(UUID vm) {
    return of(vm).resolve(STATE);
  }

  /**
   * The directory for a TPM that is about to start.
   *
   * @param contents of the record; empty for a TPM that begins anew
   */
  Path forStart(UUID vm, String contents) throws IOException {
    return Files.exists(state(vm)) ? of(vm) : forArrival(vm, contents);
  }

  /** The same for a guest that comes from another host: made from the record, whatever is there. */
  Path forArrival(UUID vm, String contents) throws IOException {
    discard(vm);
    Files.createDirectories(
        of(vm), PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
    if (contents.isEmpty()) {
      return of(vm);
    }
    ByteBuffer bytes = ByteBuffer.wrap(decode(contents));
    Path draft =
        Files.createFile(
            of(vm).resolve("draft"),
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
    try (FileChannel out = FileChannel.open(draft, StandardOpenOption.WRITE)) {
      while (bytes.hasRemaining()) {
        out.write(bytes);
      }
      out.force(true);
    }
    Files.move(draft, state(vm), StandardCopyOption.ATOMIC_MOVE);
    return of(vm);
  }

  private static byte[] decode(String contents) throws IOException {
    if (!valid(contents)) {
      throw new IOException("what the TPM shall begin with is not base64, or too long");
    }
    return Base64.getDecoder().decode(contents);
  }

  /** Whether a client or a peer may give it: what it means is for swtpm to judge. */
  public static boolean valid(String contents) {
    return contents.length() <= LIMIT
        && contents.matches("[A-Za-z0-9+/]*={0,2}")
        && contents.length() % 4 == 0;
  }

  /** What the record is to hold now; empty when the record has it. */
  Optional<String> current(UUID vm) throws IOException {
    // Made by a process that serves a guest: it must be what it is called, and no way elsewhere.
    if (Files.exists(state(vm), LinkOption.NOFOLLOW_LINKS)
        && !Files.isRegularFile(state(vm), LinkOption.NOFOLLOW_LINKS)) {
      throw new IOException("the state of the TPM of VM " + vm + " is no file");
    }
    try (InputStream in = Files.newInputStream(state(vm), LinkOption.NOFOLLOW_LINKS)) {
      byte[] bytes = in.readNBytes(LIMIT);
      String value = Base64.getEncoder().encodeToString(bytes);
      if (bytes.length == 0 || value.length() > LIMIT) {
        throw new IOException(
            "the state of the TPM of VM " + vm + " is empty or has more than " + LIMIT);
      }
      return Optional.of(value);
    } catch (NoSuchFileException e) {
      return Optional.empty();
    }
  }

  /** The record has it, or the VM is gone. */
  public void discard(UUID vm) throws IOException {
    if (Files.isDirectory(of(vm))) {
      try (Stream<Path> entries = Files.list(of(vm))) {
        for (Path entry : entries.toList()) {
          Files.deleteIfExists(entry);
        }
      }
      Files.deleteIfExists(of(vm));
    }
  }

  /** The VMs that have a directory. */
  List<UUID> present() {
    if (!Files.isDirectory(directory)) {
      return List.of();
    }
    List<UUID> found = new ArrayList<>();
    try (Stream<Path> entries = Files.list(directory)) {
      for (Path entry : entries.toList()) {
        String name = String.valueOf(entry.getFileName());
        if (name.matches("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")) {
          found.add(UUID.fromString(name));
        }
      }
    } catch (IOException e) {
      log.warn("{} cannot be listed: states of TPMs may be left in it", directory, e);
    }
    return found;
  }
}
