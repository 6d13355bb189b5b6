package io.xenferry.server.blob;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.server.schema.Schema;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.time.Clock;
import java.time.Duration;
import java.time.temporal.ChronoUnit;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The content of the objects of the class {@code blob}: a file each, named by its uuid, beside the
 * database. One without a file is empty. Thread-safe.
 */
public final class Blobs {
  private static final Logger LOG = LoggerFactory.getLogger(Blobs.class);

  /** Bytes of one. */
  static final long LIMIT = 64L << 20;

  /** Bytes of all: they share a file system with the databases. */
  static final long LIMIT_OF_ALL = 1L << 30;

  /** For content of any size, either way; each read and write has the connection's own. */
  static final Duration DEADLINE = Duration.ofMinutes(10);

  private static final int PIECE = 64 << 10;
  private static final String UNFINISHED = ".part";

  private final Path directory;
  private final ObjectDatabase database;
  private final Schema schema;
  private final Clock clock;

  /** Bytes of what is coming; guarded by this. */
  private long expected;

  /** Told between the pieces how much has come or gone, 0 to 1; may break it off. */
  interface Pace {
    void told(double done) throws IOException;
  }

  /** The content does not come in time. */
  static final class TooSlow extends IOException {
    private static final long serialVersionUID = 1L;

    TooSlow() {
      super("the content does not arrive");
    }
  }

  /** There is no room for it. */
  static final class NoRoom extends IOException {
    private static final long serialVersionUID = 1L;

    NoRoom() {
      super("the blobs would be larger than " + LIMIT_OF_ALL + " bytes together");
    }
  }

  /** This host could not keep it. */
  static final class NotKept extends IOException {
    private static final long serialVersionUID = 1L;

    NotKept(IOException cause) {
      super("the content cannot be kept", cause);
    }
  }

  /** Takes up what a server before this one has kept, and removes what it has not finished. */
  public Blobs(Path directory, ObjectDatabase database, Schema schema, Clock clock)
      throws IOException, XenApiException {
    this.directory = directory;
    this.database = database;
    this.schema = schema;
    this.clock = clock;
    Files.createDirectories(directory);
    sweep();
  }

  private void sweep() throws IOException, XenApiException {
    Set<String> wanted = new HashSet<>();
    database.change(tx -> {
      for (Row row : List.copyOf(tx.rows("blob"))) {
        String uuid = schema.text(row, "uuid");
        wanted.add(uuid);
        long size = size(file(uuid));
        if (size != schema.integer(row, "size")) {
          schema.set(tx, "blob", row.ref(), "size", Value.of(size));
        }
      }
    });
    try (Stream<Path> files = Files.list(directory)) {
      for (Path file : files.toList()) {
        if (!wanted.contains(String.valueOf(file.getFileName()))) {
          Files.delete(file);
        }
      }
    }
  }

  private static long size(Path file) {
    try {
      return Files.exists(file) ? Files.size(file) : 0;
    } catch (IOException e) {
      LOG.warn("{} cannot be looked at", file, e);
      return 0;
    }
  }

  private Path file(String uuid) {
    return directory.resolve(uuid);
  }

  /** The object with that reference, or else that uuid. */
  Optional<Row> find(Optional<String> ref, Optional<String> uuid) {
    return ref.flatMap(r -> database.snapshot().row("blob", r))
        .or(() -> uuid.flatMap(u -> database.snapshot().byUuid("blob", u)));
  }

  boolean isPublic(Row blob) {
    return schema.bool(blob, "public");
  }

  String mimeType(Row blob) {
    return schema.text(blob, "mime_type");
  }

  /** The content as it is now, whatever is put in its place later; empty when there is none yet. */
  Optional<FileChannel> open(Row blob) throws IOException {
    Path file = file(schema.text(blob, "uuid"));
    return Files.exists(file)
        ? Optional.of(FileChannel.open(file, StandardOpenOption.READ))
        : Optional.empty();
  }

  /**
   * Makes room for the next content of one.
   *
   * @param length at most {@link #LIMIT}
   * @throws NoRoom with all the others it would be too much
   */
  synchronized Arrival expect(Row blob, long length) throws NoRoom {
    long others =
        database.snapshot().rows("blob").stream()
            .filter(row -> !row.ref().equals(blob.ref()))
            .mapToLong(row -> schema.integer(row, "size"))
            .sum();
    if (others + expected + length > LIMIT_OF_ALL) {
      throw new NoRoom();
    }
    expected += length;
    return new Arrival(blob, length);
  }

  private synchronized void expectNoMore(long length) {
    expected -= length;
  }

  /** Content that comes; has its room until it is closed. */
  final class Arrival implements AutoCloseable {
    private final Row blob;
    private final long length;

    private Arrival(Row blob, long length) {
      this.blob = blob;
      this.length = length;
    }

    /**
     * Replaces the content, durably, once all of it has come.
     *
     * @throws TooSlow it did not come in time
     * @throws NotKept the file system refuses it
     * @throws IOException it did not come
     * @throws XenApiException HANDLE_INVALID when the object went meanwhile
     */
    void take(InputStream content, Pace pace) throws IOException, XenApiException {
      String uuid = schema.text(blob, "uuid");
      Path part = newPart(uuid);
      try {
        receive(content, length, part, pace);
        keep(blob, uuid, part, length);
      } finally {
        Files.deleteIfExists(part);
      }
    }

    @Override
    public void close() {
      expectNoMore(length);
    }
  }

  private Path newPart(String uuid) throws NotKept {
    try {
      return Files.createTempFile(directory, uuid, UNFINISHED);
    } catch (IOException e) {
      throw new NotKept(e);
    }
  }

  private static void receive(InputStream content, long length, Path to, Pace pace)
      throws IOException {
    long end = System.nanoTime() + DEADLINE.toNanos();
    try (FileChannel out = FileChannel.open(to, StandardOpenOption.WRITE)) {
      byte[] piece = new byte[PIECE];
      for (long left = length; left > 0; ) {
        pace.told((double) (length - left) / length);
        int n = content.read(piece, 0, (int) Math.min(left, piece.length));
        if (n < 0) {
          throw new IOException("the content ended " + left + " bytes early");
        }
        write(out, ByteBuffer.wrap(piece, 0, n));
        left -= n;
        if (System.nanoTime() - end > 0) {
          throw new TooSlow();
        }
      }
      force(out);
    }
  }

  private static void write(FileChannel out, ByteBuffer bytes) throws NotKept {
    try {
      while (bytes.hasRemaining()) {
        out.write(bytes);
      }
    } catch (IOException e) {
      throw new NotKept(e);
    }
  }

  private static void force(FileChannel out) throws NotKept {
    try {
      out.force(true);
    } catch (IOException e) {
      throw new NotKept(e);
    }
  }

  private synchronized void keep(Row blob, String uuid, Path part, long length)
      throws NotKept, XenApiException {
    Schema.row(database.snapshot(), "blob", blob.ref());
    try (FileChannel parent = FileChannel.open(directory, StandardOpenOption.READ)) {
      Files.move(part, file(uuid), StandardCopyOption.ATOMIC_MOVE);
      force(parent);
    } catch (IOException e) {
      throw new NotKept(e);
    }
    database.change(tx -> {
      schema.set(tx, "blob", blob.ref(), "size", Value.of(length));
      schema.set(
          tx,
          "blob",
          blob.ref(),
          "last_updated",
          Value.of(clock.instant().truncatedTo(ChronoUnit.SECONDS)));
    });
  }

  /** Removes the content of one that is gone from the database. */
  synchronized void forget(String uuid) {
    try {
      Files.deleteIfExists(file(uuid));
    } catch (IOException e) {
      // The next start removes it.
      LOG.warn("the content of blob {} stays", uuid, e);
    }
  }
}
