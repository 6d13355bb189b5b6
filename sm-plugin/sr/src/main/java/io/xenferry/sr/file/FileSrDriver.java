package io.xenferry.sr.file;

import io.xenferry.block.OwnerOnly;
import io.xenferry.sr.AtomicFile;
import io.xenferry.sr.ProbeResult;
import io.xenferry.sr.QueryResult;
import io.xenferry.sr.SmError;
import io.xenferry.sr.SmapiException;
import io.xenferry.sr.SrDriver;
import io.xenferry.sr.SrInfo;
import io.xenferry.sr.StorageRepository;
import io.xenferry.sr.VolumeRepository;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * The SR type {@code file}: {@code device-config:location} is a local directory with sparse raw
 * files or qcow2 images. Snapshots and clones of qcow2 disks share what they have in common; those
 * of raw ones are full copies.
 */
public final class FileSrDriver implements SrDriver {
  private static final String LOCATION = "location";

  /** What holds for every driver of plain volumes here. */
  public static final List<String> FEATURES =
      List.of(
          "SR_CREATE",
          "SR_DELETE",
          "SR_ATTACH",
          "SR_DETACH",
          "SR_SCAN",
          "SR_PROBE",
          "SR_UPDATE",
          "VDI_CREATE",
          "VDI_DELETE",
          "VDI_ATTACH",
          "VDI_DETACH",
          "VDI_ACTIVATE",
          "VDI_DEACTIVATE",
          "VDI_UPDATE",
          "VDI_INTRODUCE",
          "VDI_RESIZE",
          "VDI_CLONE",
          "VDI_SNAPSHOT",
          "VDI_MIRROR",
          "VDI_MIRROR_IN",
          "LARGE_VDI",
          "THIN_PROVISIONING");

  @Override
  public String type() {
    return "file";
  }

  @Override
  public QueryResult query() {
    return new QueryResult(
        type(),
        "Local directory",
        "Sparse raw files and qcow2 images in a local directory",
        "XenFerry",
        "Apache-2.0",
        "1.0",
        "2.0",
        features(),
        Map.of(
            LOCATION,
            "absolute path of a local directory",
            ImageFormat.KEY,
            "of disks for which none is asked: raw, the default, or qcow2"));
  }

  /** With those of qcow2 disks. */
  private static List<String> features() {
    return Stream.concat(
            FEATURES.stream(), Stream.of("VDI_RESIZE_ONLINE", "VDI_REVERT", "VDI_CONFIG_CBT"))
        .toList();
  }

  @Override
  public Map<String, String> create(
      String sr,
      String nameLabel,
      String nameDescription,
      Map<String, String> deviceConfig,
      long physicalSize)
      throws SmapiException {
    Path directory = location(deviceConfig);
    format(deviceConfig);
    boolean made = prepare(directory);
    try {
      AtomicFile.write(
          directory.resolve(FileVolumes.SR_RECORD),
          Map.of("uuid", sr, "name_label", nameLabel, "name_description", nameDescription));
    } catch (IOException e) {
      if (made) {
        try {
          Files.deleteIfExists(directory);
        } catch (IOException left) {
          e.addSuppressed(left);
        }
      }
      throw SmapiException.failure(SmError.FILE_SR_CREATE, directory + ": " + e).withCause(e);
    }
    return deviceConfig;
  }

  /**
   * Makes the directory, or sees that it is empty, as a file system's root is that was mounted for
   * the SR. No parents are made: where they are missing, the path is mistyped or nothing is
   * mounted, and the disks would fill another file system than was meant.
   *
   * @return whether it was made
   */
  private static boolean prepare(Path directory) throws SmapiException {
    try {
      if (!Files.exists(directory, LinkOption.NOFOLLOW_LINKS)) {
        Files.createDirectory(directory, OwnerOnly.directory());
        return true;
      }
      if (Files.exists(directory.resolve(FileVolumes.SR_RECORD))) {
        throw SmapiException.failure(
            SmError.SR_EXISTS, directory + " holds an SR already: introduce it instead");
      }
      try (DirectoryStream<Path> files = Files.newDirectoryStream(directory)) {
        for (Path file : files) {
          if (!file.endsWith("lost+found")) {
            throw SmapiException.failure(SmError.SR_EXISTS, directory + " is not empty");
          }
        }
      }
      return false;
    } catch (NotDirectoryException e) {
      throw SmapiException.failure(SmError.FILE_SR_CREATE, directory + " is no directory")
          .withCause(e);
    } catch (NoSuchFileException e) {
      throw SmapiException.failure(
              SmError.FILE_SR_CREATE, directory.getParent() + " does not exist: nothing was made")
          .withCause(e);
    } catch (IOException e) {
      throw SmapiException.failure(SmError.FILE_SR_CREATE, directory + ": " + e).withCause(e);
    }
  }

  @Override
  public StorageRepository attach(String sr, Map<String, String> deviceConfig)
      throws SmapiException {
    Path directory = location(deviceConfig);
    try {
      String owner = AtomicFile.read(directory.resolve(FileVolumes.SR_RECORD)).get("uuid");
      if (!sr.equals(owner)) {
        throw SmapiException.failure(
            SmError.SR_UNAVAILABLE,
            directory + (owner == null ? " holds no SR" : " holds another SR, " + owner));
      }
      FileVolumes volumes =
          FileVolumes.open(directory, format(deviceConfig))
              .orElseThrow(() ->
                  SmapiException.failure(SmError.SR_IN_USE, directory + " is attached elsewhere"));
      return VolumeRepository.open(sr, volumes);
    } catch (IOException e) {
      throw SmapiException.failure(SmError.SR_UNAVAILABLE, directory + ": " + e).withCause(e);
    }
  }

  @Override
  public List<ProbeResult> probe(Map<String, String> deviceConfig, Map<String, String> smConfig)
      throws SmapiException {
    Path directory = location(deviceConfig);
    try {
      Map<String, String> record = AtomicFile.read(directory.resolve(FileVolumes.SR_RECORD));
      String uuid = record.get("uuid");
      if (uuid == null) {
        return List.of(new ProbeResult(deviceConfig, true, Optional.empty(), Map.of()));
      }
      SrInfo sr =
          new SrInfo(
              uuid,
              record.getOrDefault("name_label", ""),
              record.getOrDefault("name_description", ""),
              Files.getFileStore(directory).getTotalSpace(),
              Files.getFileStore(directory).getUsableSpace(),
              false,
              SrInfo.Health.HEALTHY);
      return List.of(new ProbeResult(deviceConfig, true, Optional.of(sr), Map.of()));
    } catch (IOException e) {
      throw SmapiException.failure(SmError.SR_UNAVAILABLE, directory + ": " + e).withCause(e);
    }
  }

  private static ImageFormat format(Map<String, String> deviceConfig) throws SmapiException {
    String word = deviceConfig.getOrDefault(ImageFormat.KEY, ImageFormat.RAW.word());
    return ImageFormat.of(word)
        .orElseThrow(() ->
            SmapiException.failure(
                SmError.SR_UNAVAILABLE, "image-format is raw or qcow2, not '" + word + "'"));
  }

  private static Path location(Map<String, String> deviceConfig) throws SmapiException {
    String text = deviceConfig.getOrDefault(LOCATION, "");
    if (text.isEmpty()) {
      throw SmapiException.failure(
          SmError.CONFIG_LOCATION_MISSING, "device-config:location is missing");
    }
    try {
      Path path = Path.of(text);
      if (path.isAbsolute()) {
        return path.normalize();
      }
    } catch (InvalidPathException e) {
      throw SmapiException.failure(SmError.SR_UNAVAILABLE, "location is no path").withCause(e);
    }
    throw SmapiException.failure(SmError.SR_UNAVAILABLE, text + " is not an absolute path");
  }
}
