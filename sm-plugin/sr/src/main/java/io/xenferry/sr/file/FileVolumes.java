package io.xenferry.sr.file;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.block.FileBackend;
import io.xenferry.block.OwnerOnly;
import io.xenferry.sr.AtomicFile;
import io.xenferry.sr.SmError;
import io.xenferry.sr.SmapiException;
import io.xenferry.sr.VdiInfo;
import io.xenferry.sr.VolumeChains;
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
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Volumes as files {@code KEY.raw} or {@code KEY.qcow2}, records as {@code KEY.vdi}, the SR's own
 * as {@code sr.meta}; which image a volume is on that was snapshot says the {@link ImageTree}. A
 * lock file keeps a second process off.
 */
final class FileVolumes implements VolumeStore {
  private static final Logger LOG = LoggerFactory.getLogger(FileVolumes.class);
  static final String SR_RECORD = "sr.meta";
  private static final String LOCK = ".lock";
  private static final String RECORD = ".vdi";
  private static final String CHANGES = ".cbt";

  private final Path directory;
  private final FileChannel lockChannel;
  private final FileLock lock;
  private final ImageFormat standard;
  private final ImageTree tree;
  private final LayeredImages layers;
  private final RawViews views;

  private FileVolumes(
      Path directory,
      ImageFormat standard,
      FileChannel lockChannel,
      FileLock lock,
      ImageTree tree) {
    this.directory = directory;
    this.standard = standard;
    this.tree = tree;
    this.layers = new LayeredImages(tree);
    this.views = new RawViews(directory);
    this.lockChannel = lockChannel;
    this.lock = lock;
  }

  /**
   * Empty when another process, or this one, has it already.
   *
   * @param standard the format of volumes for which none is asked
   */
  static Optional<FileVolumes> open(Path directory, ImageFormat standard) throws IOException {
    FileChannel channel =
        FileChannel.open(
            directory.resolve(LOCK),
            Set.of(StandardOpenOption.CREATE, StandardOpenOption.WRITE),
            OwnerOnly.file());
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
    if (lock == null) {
      return Optional.empty();
    }
    try {
      ImageTree tree = ImageTree.open(directory);
      return Optional.of(new FileVolumes(directory, standard, channel, lock, tree));
    } catch (IOException | RuntimeException e) {
      channel.close();
      throw e;
    }
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
  public List<String> formats() {
    return Stream.concat(Stream.of(standard), Arrays.stream(ImageFormat.values()))
        .distinct()
        .map(ImageFormat::word)
        .toList();
  }

  @Override
  public VdiInfo complete(VdiInfo wanted) throws SmapiException {
    String asked = wanted.smConfig().getOrDefault(ImageFormat.KEY, standard.word());
    if (ImageFormat.of(asked).isEmpty()) {
      throw SmapiException.failure(
          SmError.VDI_CREATE, "image-format is raw or qcow2, not '" + asked + "'");
    }
    return wanted.withSmConfig(ImageFormat.KEY, asked);
  }

  @Override
  public void create(String key, VdiInfo wanted, long size) throws IOException {
    ImageFormat format =
        ImageFormat.of(wanted.smConfig().getOrDefault(ImageFormat.KEY, "")).orElse(ImageFormat.RAW);
    if (tree.isImage(key)) {
      throw new IOException("an image " + key + " is there already");
    }
    switch (format) {
      case RAW -> {
        try (FileBackend image = FileBackend.create(plain(key, format), size)) {
          wait(image.flush());
        }
      }
      case QCOW2 -> QemuImg.create(plain(key, format), size);
    }
    AtomicFile.syncDirectory(directory);
  }

  /** Where the image of a volume is that was never snapshot. */
  private Path plain(String key, ImageFormat format) {
    return directory.resolve(key + format.suffix());
  }

  private Path image(String key) {
    return tree.file(tree.imageOf(key));
  }

  @Override
  public void delete(String key) throws IOException {
    views.close(key);
    if (tree.holds(key)) {
      tree.forget(key);
    } else if (!tree.isImage(key)) { // else it is another volume's by now
      Files.deleteIfExists(plain(key, ImageFormat.RAW));
      Files.deleteIfExists(plain(key, ImageFormat.QCOW2));
      AtomicFile.syncDirectory(directory);
    }
  }

  @Override
  public boolean exists(String key) {
    return (tree.holds(key) || !tree.isImage(key)) && Files.isRegularFile(image(key));
  }

  @Override
  public long size(String key) throws IOException {
    return tree.size(tree.imageOf(key));
  }

  @Override
  public void grow(String key, long size) throws IOException {
    if (format(key) == ImageFormat.QCOW2) {
      QemuImg.grow(image(key), size);
      return;
    }
    try (java.io.RandomAccessFile file = new java.io.RandomAccessFile(image(key).toFile(), "rw")) {
      file.setLength(size);
      file.getChannel().force(true);
    }
  }

  private ImageFormat format(String key) {
    return tree.format(tree.imageOf(key));
  }

  @Override
  public long allocated(String key) throws IOException {
    return FileBackend.allocated(image(key));
  }

  @Override
  public BlockBackend open(String key, boolean writable) throws BlockException {
    if (writable && !layers.isWritable(key)) {
      throw new BlockException(
          BlockException.Kind.READ_ONLY, key + " is what other disks rest on: it cannot change");
    }
    return switch (format(key)) {
      case RAW ->
          FileBackend.open(
              image(key), writable ? FileBackend.Mode.READ_WRITE : FileBackend.Mode.READ_ONLY);
      case QCOW2 -> NbdImage.open(image(key), ImageFormat.QCOW2, writable);
    };
  }

  @Override
  public Optional<Path> path(String key) {
    return Optional.of(image(key));
  }

  @Override
  public Optional<Path> beginView(String key, boolean below) throws IOException {
    return Optional.of(
        switch (format(key)) {
          case RAW -> image(key);
          case QCOW2 -> views.open(key, image(key), below);
        });
  }

  @Override
  public void endView(String key) throws IOException {
    views.close(key);
  }

  @Override
  public Map<String, String> changes(String key) throws IOException {
    return AtomicFile.read(directory.resolve(key + CHANGES));
  }

  @Override
  public void putChanges(String key, Map<String, String> record) throws IOException {
    AtomicFile.write(directory.resolve(key + CHANGES), record);
  }

  @Override
  public void deleteChanges(String key) throws IOException {
    if (Files.deleteIfExists(directory.resolve(key + CHANGES))) {
      AtomicFile.syncDirectory(directory);
    }
  }

  @Override
  public Optional<VolumeChains> chains() {
    return Optional.of(layers);
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
    Files.deleteIfExists(directory.resolve(ImageTree.FILE));
    Files.deleteIfExists(directory.resolve(LOCK));
    close();
    try {
      Files.deleteIfExists(directory);
    } catch (NoSuchFileException | java.nio.file.DirectoryNotEmptyException e) {
      LOG.info("{} holds other files and stays", directory);
    }
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
