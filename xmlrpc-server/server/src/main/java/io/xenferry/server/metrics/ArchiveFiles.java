package io.xenferry.server.metrics;

import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.stream.Stream;
import java.util.zip.Deflater;
import java.util.zip.GZIPInputStream;
import java.util.zip.GZIPOutputStream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A small file for each owner's past ({@code vm-UUID.rrd}). A file replaces the one before as a
 * whole and is not forced to disk: what a power failure costs is the past of some minutes.
 */
final class ArchiveFiles {
  private static final Logger log = LoggerFactory.getLogger(ArchiveFiles.class);

  /** "XFR" and the version of the format. */
  private static final int MAGIC = 0x58465201;

  private static final String ENDING = ".rrd";

  private final Path directory;

  /**
   * @param directory made when the first file is written
   */
  ArchiveFiles(Path directory) {
    this.directory = directory;
  }

  private Path file(Owner owner) {
    // A uuid of a record may be any text; a name of a file may not.
    UUID uuid = UUID.fromString(owner.uuid());
    return directory.resolve(owner.kind().word() + "-" + uuid + ENDING);
  }

  /** Nothing when there is no file, or one that cannot be read: then its past is lost, and said. */
  Optional<Archive> read(Owner owner) {
    try (DataInputStream in =
        new DataInputStream(
            new BufferedInputStream(new GZIPInputStream(Files.newInputStream(file(owner)))))) {
      if (in.readInt() != MAGIC) {
        throw new IOException("not in this server's format");
      }
      return Optional.of(Archive.read(in));
    } catch (NoSuchFileException e) {
      return Optional.empty();
    } catch (IOException | IllegalArgumentException e) {
      log.warn("the past figures of {} cannot be read: {}", owner, e.toString());
      return Optional.empty();
    }
  }

  void write(Owner owner, byte[] archive) {
    try {
      Files.createDirectories(directory);
      Path file = file(owner);
      Path draft = file.resolveSibling(file.getFileName() + ".new");
      Files.write(draft, archive);
      Files.move(draft, file, StandardCopyOption.ATOMIC_MOVE);
    } catch (IOException | IllegalArgumentException e) {
      log.warn("the figures of {} are not kept: {}", owner, e.toString());
    }
  }

  /** An archive as it stands in a file. */
  static byte[] bytes(Archive archive) {
    var bytes = new java.io.ByteArrayOutputStream();
    try (DataOutputStream out =
        new DataOutputStream(
            new BufferedOutputStream(
                new GZIPOutputStream(bytes) {
                  {
                    def.setLevel(Deflater.BEST_SPEED);
                  }
                }))) {
      out.writeInt(MAGIC);
      archive.write(out);
    } catch (IOException e) {
      throw new java.io.UncheckedIOException("memory does not fail", e);
    }
    return bytes.toByteArray();
  }

  void delete(Owner owner) {
    try {
      Files.deleteIfExists(file(owner));
    } catch (IOException | IllegalArgumentException e) {
      log.warn("the figures of {}, which is gone, stay behind: {}", owner, e.toString());
    }
  }

  /** Owners that have a file. */
  List<Owner> owners() {
    List<Owner> owners = new ArrayList<>();
    if (!Files.isDirectory(directory)) {
      return owners;
    }
    try (Stream<Path> files = Files.list(directory)) {
      for (Path file : files.toList()) {
        String name = String.valueOf(file.getFileName());
        for (Owner.Kind kind : Owner.Kind.values()) {
          String prefix = kind.word() + "-";
          if (name.startsWith(prefix) && name.endsWith(ENDING)) {
            owners.add(
                new Owner(kind, name.substring(prefix.length(), name.length() - ENDING.length())));
          }
        }
      }
    } catch (IOException e) {
      log.warn("{} cannot be listed: {}", directory, e.toString());
    }
    return owners;
  }
}
