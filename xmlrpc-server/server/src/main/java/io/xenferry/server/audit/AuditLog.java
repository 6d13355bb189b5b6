package io.xenferry.server.audit;

import java.io.ByteArrayInputStream;
import java.io.Closeable;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.RandomAccessFile;
import java.io.SequenceInputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.LongFunction;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Lines in files of bounded size and number: the newest are in {@code audit.log}, those before them
 * in {@code audit.log.1}, and so on; the oldest go. A line is in the system's hands when it has
 * been appended, so that it outlives this process. What cannot be written, on a full disk for one,
 * stops nobody's work: it is counted, and the next line that can be written is that count.
 * Thread-safe.
 */
public final class AuditLog implements Closeable {
  private static final Logger LOG = LoggerFactory.getLogger(AuditLog.class);

  private static final String NEWEST = "audit.log";

  private final Path directory;
  private final long fileBytes;
  private final int files;
  private final LongFunction<String> lostLines;

  // Not a monitor: files are written under it.
  private final ReentrantLock lock = new ReentrantLock();
  private @Nullable OutputStream out;
  private long size;
  private long lost;
  private boolean closed;

  /**
   * Goes on with what a server before this one has written.
   *
   * @param directory is made where it is missing
   * @param fileBytes of one file; a longer line has one of its own
   * @param files of which there are at most, 2 or more
   * @param lostLines the line that tells how many are missing before it
   */
  public AuditLog(Path directory, long fileBytes, int files, LongFunction<String> lostLines)
      throws IOException {
    this.directory = directory;
    this.fileBytes = fileBytes;
    this.files = files;
    this.lostLines = lostLines;
    Files.createDirectories(directory);
    endLastLine();
  }

  /** A process that was killed while it wrote has left half a line. */
  private void endLastLine() {
    Path newest = file(0);
    if (!Files.exists(newest)) {
      return;
    }
    try (RandomAccessFile file = new RandomAccessFile(newest.toFile(), "rw")) {
      if (file.length() > 0) {
        file.seek(file.length() - 1);
        if (file.read() != '\n') {
          file.write('\n');
        }
      }
    } catch (IOException e) { // on a full disk, where there is nothing to add either
      LOG.warn("the last line of {} may be cut short", newest, e);
    }
  }

  private Path file(int age) {
    return directory.resolve(age == 0 ? NEWEST : NEWEST + "." + age);
  }

  /**
   * @param line without an end of its own
   */
  public void append(String line) {
    lock.lock();
    try {
      if (closed) {
        return;
      }
      if (lost > 0) {
        long missing = lost;
        write(lostLines.apply(missing));
        lost = 0;
        LOG.warn("the audit log lacks {} lines", missing);
      }
      write(line);
    } catch (IOException e) {
      if (lost++ == 0) {
        LOG.error("the audit log cannot be written; lines are lost", e);
      }
    } finally {
      lock.unlock();
    }
  }

  private void write(String line) throws IOException {
    byte[] bytes = (line + "\n").getBytes(StandardCharsets.UTF_8);
    OutputStream to = out == null ? open() : out;
    if (size > 0 && size + bytes.length > fileBytes) {
      to = rotate(to);
    }
    // As a whole, and not by a channel: a thread that is interrupted would close that.
    to.write(bytes);
    size += bytes.length;
  }

  private OutputStream open() throws IOException {
    OutputStream opened = new FileOutputStream(file(0).toFile(), true);
    out = opened;
    size = Files.size(file(0));
    return opened;
  }

  private OutputStream rotate(OutputStream full) throws IOException {
    out = null; // a failure from here on lets the next line open it again
    full.close();
    for (int age = files - 2; age >= 0; age--) {
      if (Files.exists(file(age))) {
        Files.move(file(age), file(age + 1), StandardCopyOption.REPLACE_EXISTING);
      }
    }
    return open();
  }

  /** All lines that there are now, the oldest first; they stay while they are read. */
  public InputStream read() throws IOException {
    List<InputStream> parts = new ArrayList<>();
    lock.lock();
    try {
      for (int age = files - 1; age >= 0; age--) {
        if (Files.exists(file(age))) {
          parts.add(new Part(Files.newInputStream(file(age)), Files.size(file(age))));
        }
      }
    } catch (IOException e) {
      for (InputStream part : parts) {
        part.close();
      }
      throw e;
    } finally {
      lock.unlock();
    }
    parts.add(new ByteArrayInputStream(new byte[0]));
    return new SequenceInputStream(Collections.enumeration(parts));
  }

  /** A file as long as it was when it was opened. */
  private static final class Part extends InputStream {
    private final InputStream file;
    private long left;

    Part(InputStream file, long size) {
      this.file = file;
      this.left = size;
    }

    @Override
    public int read() throws IOException {
      byte[] one = new byte[1];
      return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
    }

    @Override
    public int read(byte[] to, int offset, int length) throws IOException {
      if (left <= 0) {
        return -1;
      }
      int n = file.read(to, offset, (int) Math.min(left, length));
      left -= Math.max(n, 0);
      return n;
    }

    @Override
    public void close() throws IOException {
      file.close();
    }
  }

  @Override
  public void close() throws IOException {
    lock.lock();
    try {
      closed = true;
      if (out != null) {
        out.close();
        out = null;
      }
    } finally {
      lock.unlock();
    }
  }
}
