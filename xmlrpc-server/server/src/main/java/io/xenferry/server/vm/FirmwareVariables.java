package io.xenferry.server.vm;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.stream.Stream;
import java.util.zip.GZIPInputStream;
import java.util.zip.GZIPOutputStream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The UEFI variables of this host's VMs: {@code EFI-variables} of VM.NVRAM while a VM does not run,
 * and a file beside its process while it does, which is the firmware's flash memory.
 *
 * <p>Whenever the file exists it is at least as new as the record: it is made from the record
 * before the guest starts, and removed only after the record has durably taken over what is in it.
 * Whatever removes or replaces the record removes the file as well. So a server that dies anywhere
 * in between leaves a file that the next one takes over again.
 *
 * <p>The value is base64 (RFC 4648) of gzip (RFC 1952) of the flash memory. Thread-safe; the caller
 * sees to it that one operation at a time concerns a VM.
 */
public final class FirmwareVariables {
  private static final Logger log = LoggerFactory.getLogger(FirmwareVariables.class);

  /** In VM.NVRAM. */
  public static final String KEY = "EFI-variables";

  /**
   * Characters of VM.NVRAM. OVMF's flash memory of 528 KiB takes some 10 thousand; were it full of
   * random bytes, 722 thousand.
   */
  public static final int LIMIT = 1 << 20;

  /** Bytes of the largest flash memory; larger ones could not be put into {@link #LIMIT}. */
  private static final int IMAGE_LIMIT = 704 << 10;

  private static final String SUFFIX = ".fd";

  /** The magic number of RFC 1952, section 2.3.1. */
  private static final int GZIP = 0x1f8b;

  private final Path directory;

  /**
   * @param directory of the server's own; made when it is needed
   */
  FirmwareVariables(Path directory) {
    this.directory = directory;
  }

  /** A record whose value this host's firmware cannot begin with. */
  static final class UnusableException extends Exception {
    private static final long serialVersionUID = 1;

    UnusableException(String message) {
      super(message);
    }
  }

  private Path file(UUID vm) {
    return directory.resolve(vm + SUFFIX);
  }

  /**
   * The file for a guest that is about to start: what is left of the last one if the record has not
   * taken it over, else made from the record.
   *
   * @param nvram the VM's, or of one that never started none: then from the template
   * @param template of the firmware; its length is the flash memory's
   */
  Path forStart(UUID vm, Map<String, String> nvram, Path template)
      throws IOException, UnusableException {
    Path own = file(vm);
    if (Files.exists(own)) {
      if (Files.size(own) == Files.size(template)) {
        return own;
      }
      Path aside = directory.resolve(vm + SUFFIX + ".damaged");
      log.error(
          "the UEFI variables of VM {} have {} bytes: they are put aside as {}, and those of its"
              + " record taken",
          vm,
          Files.size(own),
          aside);
      Files.move(own, aside, StandardCopyOption.REPLACE_EXISTING);
    }
    return forArrival(vm, nvram, template);
  }

  /** The same for a guest that comes from another host: made from the record, whatever is there. */
  Path forArrival(UUID vm, Map<String, String> nvram, Path template)
      throws IOException, UnusableException {
    Optional<String> value = Optional.ofNullable(nvram.get(KEY)).filter(v -> !v.isEmpty());
    byte[] image =
        value.isPresent() ? decode(value.get(), Files.size(template)) : readAll(template);
    Files.createDirectories(
        directory,
        PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
    Path draft = directory.resolve(vm + ".new");
    Files.deleteIfExists(draft);
    Files.createFile(
        draft, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
    try (FileChannel out = FileChannel.open(draft, StandardOpenOption.WRITE)) {
      ByteBuffer bytes = ByteBuffer.wrap(image);
      while (bytes.hasRemaining()) {
        out.write(bytes);
      }
      out.force(true);
    }
    Path own = file(vm);
    Files.move(draft, own, StandardCopyOption.ATOMIC_MOVE);
    return own;
  }

  /**
   * What the record is to hold now; empty when there is no file, since the record has it then.
   *
   * @throws IOException when it cannot be read, or is damaged
   */
  Optional<String> current(UUID vm) throws IOException {
    try {
      byte[] image = readAll(file(vm));
      if (image.length == 0) {
        throw new IOException("the UEFI variables of VM " + vm + " are an empty file");
      }
      return Optional.of(encode(image));
    } catch (NoSuchFileException e) {
      return Optional.empty();
    }
  }

  /** The record has what is in the file, or the VM is gone: the file is not needed any more. */
  public void discard(UUID vm) throws IOException {
    Files.deleteIfExists(file(vm));
  }

  /** The same where nothing is lost when it fails: the next start of the server repeats it. */
  public void discardOrWarn(UUID vm) {
    try {
      discard(vm);
    } catch (IOException e) {
      log.warn("the UEFI variables of VM {}, no longer needed, could not be removed", vm, e);
    }
  }

  /** The VMs that have a file. */
  List<UUID> present() {
    if (!Files.isDirectory(directory)) {
      return List.of();
    }
    List<UUID> found = new ArrayList<>();
    try (Stream<Path> entries = Files.list(directory)) {
      for (Path entry : entries.toList()) {
        String name = String.valueOf(entry.getFileName());
        if (name.matches("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\\.fd")) {
          found.add(UUID.fromString(name.substring(0, name.length() - SUFFIX.length())));
        }
      }
    } catch (IOException | UncheckedIOException e) {
      log.warn("{} cannot be listed: UEFI variables may be left in it", directory, e);
    }
    return found;
  }

  private static byte[] readAll(Path file) throws IOException {
    try (InputStream in = Files.newInputStream(file)) {
      byte[] image = in.readNBytes(IMAGE_LIMIT + 1);
      if (image.length > IMAGE_LIMIT) {
        throw new IOException(file + " has more than " + IMAGE_LIMIT + " bytes");
      }
      return image;
    }
  }

  static String encode(byte[] image) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (OutputStream packed = new GZIPOutputStream(bytes)) {
      packed.write(image);
    }
    return Base64.getEncoder().encodeToString(bytes.toByteArray());
  }

  /**
   * @param size bytes that it must have
   */
  static byte[] decode(String value, long size) throws UnusableException {
    byte[] packed;
    try {
      packed = Base64.getDecoder().decode(value);
    } catch (IllegalArgumentException e) {
      throw new UnusableException("it is not base64");
    }
    if (packed.length < 2 || ((packed[0] & 0xff) << 8 | (packed[1] & 0xff)) != GZIP) {
      throw new UnusableException(
          "it is not of this server's making: base64 of gzip of the flash memory of OVMF");
    }
    try (InputStream in = new GZIPInputStream(new ByteArrayInputStream(packed))) {
      // No more of what may unpack without end than tells that it is too much.
      byte[] image = in.readNBytes(Math.toIntExact(Math.min(size, IMAGE_LIMIT)) + 1);
      if (image.length != size) {
        throw new UnusableException(
            "it is of another firmware: this host's has a flash memory of " + size + " bytes");
      }
      return image;
    } catch (IOException e) {
      throw new UnusableException("it is damaged: " + e.getMessage());
    }
  }
}
