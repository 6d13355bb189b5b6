package io.xenferry.sr.file;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.block.FileBackend;
import io.xenferry.sr.AtomicFile;
import io.xenferry.sr.VolumeStore;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.FileStore;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Volumes as files {@code KEY.raw}, records as {@code KEY.vdi}, the SR's own as {@code sr.meta}. A
 * lock file keeps a second process off.
 */
final class FileVolumes implements VolumeStore {
  private static final Logger LOG = LoggerFactory.getLogger(FileVolumes.class);
  static final String SR_RECORD = "sr.meta";
  private static final String LOCK = ".lock";
  private static final String IMAGE = ".raw";
  private static final String RECORD = ".vdi";

  private final Path directory;
  private final FileChannel lockChannel;
  private final FileLock lock;

  private FileVolumes(Path directory, FileChannel lockChannel, FileLock lock) {
    this.directory = directory;
    this.lockChannel = lockChannel;
    this.lock = lock;
  }

  /** Empty when another process, or this one, has it already. */
  static Optional<FileVolumes> open(Path directory) throws IOException {
    FileChannel channel =
        FileChannel.open(
            directory.resolve(LOCK), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
    FileLock lock = null;
    try {
      lock = channel.tryLock();
    } catch (OverlappingFileLockException e) {
      LOG.debug("{} is attached by this process", directory);
    } finally {
      if (lock == null) {
        channel.close();
      }
    }
    return lock == null ? Optional.empty() : Optional.of(new FileVolumes(directory, channel, lock));
  }

  @Override
  public Map<String, Map<String, String>> records() throws IOException {
    Map<String, Map<String, String>> records = new HashMap<>();
    List<Path> files;
    try (Stream<Path> all = Files.list(directory)) {
      files = all.toList();
    }
    for (Path file : files) {
      String name = file.getFileName().toString();
      if (name.endsWith(RECORD + ".new")) {
        Files.deleteIfExists(file);
      } else if (name.endsWith(RECORD)) {
        String key = name.substring(0, name.length() - RECORD.length());
        try {
          records.put(key, AtomicFile.read(file));
        } catch (IOException e) {
          LOG.warn("{} is left alone: {}", file, e.toString());
        }
      }
    }
    return records;
  }

  @Override
  public void putRecord(String key, Map<String, String> record) throws IOException {
    AtomicFile.write(directory.resolve(key + RECORD), record);
  }

  @Override
  public void deleteRecord(String key) throws IOException {
    Files.deleteIfExists(directory.resolve(key + RECORD));
    AtomicFile.syncDirectory(directory);
  }

  @Override
  public void create(String key, long size) throws IOException {
    try (FileBackend image = FileBackend.create(image(key), size)) {
      wait(image.flush());
    }
    AtomicFile.syncDirectory(directory);
  }

  @Override
  public void delete(String key) throws IOException {
    Files.deleteIfExists(image(key));
    AtomicFile.syncDirectory(directory);
  }

  @Override
  public boolean exists(String key) {
    return Files.isRegularFile(image(key));
  }

  @Override
  public long size(String key) throws IOException {
    return Files.size(image(key));
  }

  @Override
  public void grow(String key, long size) throws IOException {
    try (java.io.RandomAccessFile file = new java.io.RandomAccessFile(image(key).toFile(), "rw")) {
      file.setLength(size);
      file.getChannel().force(true);
    }
  }

  @Override
  public long allocated(String key) throws IOException {
    return FileBackend.allocated(image(key));
  }

  @Override
  public BlockBackend open(String key, boolean writable) throws BlockException {
    return FileBackend.open(
        image(key), writable ? FileBackend.Mode.READ_WRITE : FileBackend.Mode.READ_ONLY);
  }

  @Override
  public Optional<Path> path(String key) {
    return Optional.of(image(key));
  }

  @Override
  public Space space() throws IOException {
    FileStore fileStore = Files.getFileStore(directory);
    return new Space(fileStore.getTotalSpace(), fileStore.getUsableSpace());
  }

  @Override
  public Map<String, String> srRecord() throws IOException {
    return AtomicFile.read(directory.resolve(SR_RECORD));
  }

  @Override
  public void putSrRecord(Map<String, String> record) throws IOException {
    AtomicFile.write(directory.resolve(SR_RECORD), record);
  }

  @Override
  public void close() {
    try {
      lock.release();
      lockChannel.close();
    } catch (IOException e) {
      LOG.debug("closing {}", directory, e);
    }
  }

  /** The directory itself stays when it holds files of others. */
  @Override
  public void destroy() throws IOException {
    Files.deleteIfExists(directory.resolve(SR_RECORD));
    Files.deleteIfExists(directory.resolve(LOCK));
    close();
    try {
      Files.deleteIfExists(directory);
    } catch (NoSuchFileException | java.nio.file.DirectoryNotEmptyException e) {
      LOG.info("{} holds other files and stays", directory);
    }
  }

  private Path image(String key) {
    return directory.resolve(key + IMAGE);
  }

  private static <T> T wait(java.util.concurrent.CompletableFuture<T> request) throws IOException {
    try {
      return request.get(60, TimeUnit.SECONDS);
    } catch (ExecutionException e) {
      throw new IOException(e.getCause());
    } catch (TimeoutException e) {
      throw new IOException("the disk does not answer", e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new java.io.InterruptedIOException();
    }
  }
}
