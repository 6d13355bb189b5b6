package io.xenferry.sr.iso;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.block.FileBackend;
import io.xenferry.sr.Implementation;
import io.xenferry.sr.Progress;
import io.xenferry.sr.SmError;
import io.xenferry.sr.SmapiException;
import io.xenferry.sr.SrInfo;
import io.xenferry.sr.StorageRepository;
import io.xenferry.sr.VdiInfo;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileStore;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * CDs by the names of their files, which are their locations as well. A CD's uuid follows from that
 * of the SR and the name, so nothing has to be kept: a file that is put in its place is the same
 * CD. What a guest has stays in the list, also when its file is taken away.
 */
final class IsoRepository implements StorageRepository {
  private static final Logger LOG = LoggerFactory.getLogger(IsoRepository.class);

  private static final String SUFFIX = ".iso";

  /** CDs of one SR; who has more makes a second one. */
  private static final int MOST = 10_000;

  private final String sr;
  private final Path directory;

  /** Those that guests have, as they were when the first one got it. */
  private final Map<String, VdiInfo> attached = new ConcurrentHashMap<>();

  IsoRepository(String sr, Path directory) {
    this.sr = sr;
    this.directory = directory;
  }

  @Override
  public String sr() {
    return sr;
  }

  @Override
  public SrInfo stat() throws SmapiException {
    try {
      FileStore store = Files.getFileStore(directory);
      return new SrInfo(
          sr, "", "", store.getTotalSpace(), store.getUsableSpace(), false, SrInfo.Health.HEALTHY);
    } catch (IOException e) {
      throw SmapiException.failure(SmError.SR_UNAVAILABLE, directory + ": " + e).withCause(e);
    }
  }

  /** Only the pool's database has it. */
  @Override
  public void setNameLabel(String value) {}

  @Override
  public void setNameDescription(String value) {}

  @Override
  public List<VdiInfo> scan() throws SmapiException {
    List<VdiInfo> found = new ArrayList<>();
    try (Stream<Path> files = Files.list(directory)) {
      List<Path> isos = files.filter(IsoRepository::isCd).sorted().limit(MOST + 1L).toList();
      if (isos.size() > MOST) {
        throw SmapiException.failure(
            SmError.SR_SCAN, directory + " has more than " + MOST + " files " + SUFFIX);
      }
      for (Path file : isos) {
        String name = file.getFileName().toString();
        try {
          found.add(info(name));
        } catch (IOException e) {
          LOG.warn("SR {}: {} is left out", sr, file, e);
        }
      }
    } catch (IOException e) {
      throw SmapiException.failure(SmError.SR_SCAN, directory + ": " + e).withCause(e);
    }
    attached.forEach((name, info) -> {
      if (found.stream().noneMatch(other -> other.vdi().equals(name))) {
        found.add(info);
      }
    });
    return found;
  }

  private static boolean isCd(Path file) {
    String name = file.getFileName().toString();
    return name.toLowerCase(Locale.ROOT).endsWith(SUFFIX)
        && name.chars().noneMatch(Character::isISOControl)
        && Files.isRegularFile(file);
  }

  private VdiInfo info(String name) throws IOException {
    Path file = directory.resolve(name);
    long size = Files.size(file);
    if (size == 0) {
      throw new IOException("the file is empty");
    }
    return new VdiInfo(
        name,
        Optional.of(
            UUID.nameUUIDFromBytes((sr + "/" + name).getBytes(StandardCharsets.UTF_8)).toString()),
        "",
        name,
        "",
        "user",
        "",
        false,
        Instant.EPOCH,
        "",
        true,
        false,
        size,
        size,
        true,
        true,
        Map.of());
  }

  /** The file of a CD that is there. */
  private Path require(String vdi) throws SmapiException {
    Path file = directory.resolve(vdi);
    if (!directory.equals(file.normalize().getParent()) || !isCd(file)) {
      throw SmapiException.vdiDoesNotExist(sr, vdi);
    }
    return file;
  }

  @Override
  public VdiInfo stat(String vdi) throws SmapiException {
    VdiInfo known = attached.get(vdi);
    if (known != null) {
      return known;
    }
    require(vdi);
    try {
      return info(vdi);
    } catch (IOException e) {
      throw SmapiException.failure(SmError.VDI_LOAD, vdi + ": " + e).withCause(e);
    }
  }

  @Override
  public void detach() throws SmapiException {
    if (!attached.isEmpty()) {
      throw SmapiException.failure(SmError.SR_IN_USE, "CDs of the SR are in drives");
    }
  }

  @Override
  public void release() {}

  /** What is in the directory is not the SR's. */
  @Override
  public void destroy() throws SmapiException {
    throw SmapiException.unimplemented("SR.destroy");
  }

  @Override
  public List<String> formats() {
    return List.of();
  }

  @Override
  public VdiInfo create(VdiInfo wanted) throws SmapiException {
    throw SmapiException.unimplemented("VDI.create");
  }

  @Override
  public void destroyVdi(String vdi) throws SmapiException {
    throw SmapiException.unimplemented("VDI.destroy");
  }

  @Override
  public VdiInfo snapshot(VdiInfo wanted, Progress progress) throws SmapiException {
    throw SmapiException.unimplemented("VDI.snapshot");
  }

  @Override
  public VdiInfo copyOf(VdiInfo wanted, Progress progress) throws SmapiException {
    throw SmapiException.unimplemented("VDI.clone");
  }

  @Override
  public long resize(String vdi, long newSize) throws SmapiException {
    throw SmapiException.unimplemented("VDI.resize");
  }

  @Override
  public VdiInfo introduce(String uuid, Map<String, String> smConfig, String location)
      throws SmapiException {
    throw SmapiException.unimplemented("VDI.introduce");
  }

  /** The pool's database has what people write to a CD. */
  @Override
  public VdiInfo update(String vdi, Change change) throws SmapiException {
    return change.of(stat(vdi));
  }

  @Override
  public List<VdiInfo> similarContent(String vdi) {
    return List.of();
  }

  @Override
  public List<Implementation> attachVdi(String vdi, boolean writable) throws SmapiException {
    refuseToWrite(writable);
    String path = require(vdi).toString();
    attached.put(vdi, stat(vdi));
    return List.of(
        new Implementation.XenDisk(path, Map.of(), "qdisk"), new Implementation.File(path));
  }

  private static void refuseToWrite(boolean writable) throws SmapiException {
    if (writable) {
      throw SmapiException.failure(SmError.VDI_UNAVAILABLE, "the VDI is read-only");
    }
  }

  @Override
  public void resumeVdi(String vdi, boolean writable) throws SmapiException {
    attachVdi(vdi, writable);
  }

  @Override
  public void activate(String vdi, boolean writable) throws SmapiException {
    refuseToWrite(writable);
  }

  @Override
  public void deactivate(String vdi) {}

  @Override
  public void detachVdi(String vdi) {
    attached.remove(vdi);
  }

  @Override
  public BlockBackend open(String vdi, boolean writable) throws SmapiException {
    refuseToWrite(writable);
    Path file = require(vdi);
    try {
      return FileBackend.open(file, FileBackend.Mode.READ_ONLY);
    } catch (BlockException e) {
      throw SmapiException.failure(SmError.VDI_UNAVAILABLE, file + ": " + e.getMessage())
          .withCause(e);
    }
  }

  @Override
  public Optional<Path> path(String vdi) throws SmapiException {
    return Optional.of(attached.containsKey(vdi) ? directory.resolve(vdi) : require(vdi));
  }
}
