package io.xenferry.sr;

import io.xenferry.block.OwnerOnly;
import java.io.IOException;
import java.io.StringReader;
import java.io.StringWriter;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;

/** Small maps in files that are, after any crash, the old one or the new one. */
public final class AtomicFile {
  /** No record of ours comes near; a file that large is not ours. */
  private static final long MAX_BYTES = 16 << 20;

  private AtomicFile() {}

  /** Reads a map, empty if there is no file. */
  public static Map<String, String> read(Path path) throws IOException {
    if (!Files.exists(path)) {
      return Map.of();
    }
    if (Files.size(path) > MAX_BYTES) {
      throw new IOException(path + ": too large to be a record");
    }
    Properties properties = new Properties();
    try {
      properties.load(new StringReader(Files.readString(path)));
    } catch (IllegalArgumentException e) {
      throw new IOException(path + ": malformed", e);
    }
    Map<String, String> map = new TreeMap<>();
    properties.stringPropertyNames().forEach(k -> map.put(k, properties.getProperty(k)));
    return map;
  }

  /** Writes a map durably, for its owner to read. */
  public static void write(Path path, Map<String, String> map) throws IOException {
    Properties properties = new Properties();
    properties.putAll(map);
    StringWriter text = new StringWriter();
    properties.store(text, null);
    Path next = path.resolveSibling(path.getFileName() + ".new");
    try (FileChannel channel =
        FileChannel.open(
            next,
            Set.of(
                StandardOpenOption.CREATE,
                StandardOpenOption.TRUNCATE_EXISTING,
                StandardOpenOption.WRITE),
            OwnerOnly.file())) {
      ByteBuffer bytes = ByteBuffer.wrap(text.toString().getBytes(StandardCharsets.UTF_8));
      while (bytes.hasRemaining()) {
        channel.write(bytes);
      }
      channel.force(true);
    } catch (IOException e) {
      Files.deleteIfExists(next); // on a full file system it would only be in the way
      throw e;
    }
    Files.move(next, path, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    syncDirectory(path.toAbsolutePath().getParent());
  }

  /** Makes creations, renames and deletions in a directory durable. */
  public static void syncDirectory(@org.jspecify.annotations.Nullable Path directory)
      throws IOException {
    if (directory != null) {
      try (FileChannel channel = FileChannel.open(directory, StandardOpenOption.READ)) {
        channel.force(true);
      }
    }
  }
}
