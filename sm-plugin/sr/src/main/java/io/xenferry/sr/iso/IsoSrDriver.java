package io.xenferry.sr.iso;

import io.xenferry.sr.ProbeResult;
import io.xenferry.sr.QueryResult;
import io.xenferry.sr.SmError;
import io.xenferry.sr.SmapiException;
import io.xenferry.sr.SrDriver;
import io.xenferry.sr.StorageRepository;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * The SR type {@code iso}: {@code device-config:location} is a local directory, and each file in it
 * whose name ends with {@code .iso} is a CD. Nothing is ever written there.
 */
public final class IsoSrDriver implements SrDriver {
  private static final String LOCATION = "location";

  @Override
  public String type() {
    return "iso";
  }

  @Override
  public Optional<String> contentType() {
    return Optional.of("iso");
  }

  @Override
  public QueryResult query() {
    return new QueryResult(
        type(),
        "CD images",
        "Images of CDs, the files NAME.iso of a local directory",
        "XenFerry",
        "Apache-2.0",
        "1.0",
        "2.0",
        List.of(
            "SR_ATTACH",
            "SR_DETACH",
            "SR_SCAN",
            "SR_PROBE",
            "VDI_ATTACH",
            "VDI_DETACH",
            "VDI_ACTIVATE",
            "VDI_DEACTIVATE"),
        Map.of(
            LOCATION,
            "absolute path of a local directory",
            "legacy_mode",
            "true, as other servers want it for local directories; means nothing here"));
  }

  @Override
  public Map<String, String> create(
      String sr,
      String nameLabel,
      String nameDescription,
      Map<String, String> deviceConfig,
      long physicalSize)
      throws SmapiException {
    directory(deviceConfig);
    return deviceConfig;
  }

  @Override
  public StorageRepository attach(String sr, Map<String, String> deviceConfig)
      throws SmapiException {
    return new IsoRepository(sr, directory(deviceConfig));
  }

  @Override
  public List<ProbeResult> probe(Map<String, String> deviceConfig, Map<String, String> smConfig)
      throws SmapiException {
    directory(deviceConfig);
    return List.of(new ProbeResult(deviceConfig, true, Optional.empty(), Map.of()));
  }

  private static Path directory(Map<String, String> deviceConfig) throws SmapiException {
    String text = deviceConfig.getOrDefault(LOCATION, "");
    if (text.isEmpty()) {
      throw SmapiException.failure(
          SmError.ISO_LOCATION_MISSING, "device-config:location is missing");
    }
    try {
      Path path = Path.of(text);
      if (path.isAbsolute() && Files.isDirectory(path)) {
        return path.normalize();
      }
    } catch (InvalidPathException e) {
      throw SmapiException.failure(SmError.ISO_LOCAL_PATH, "location is no path").withCause(e);
    }
    throw SmapiException.failure(
        SmError.ISO_LOCAL_PATH, text + " is not the absolute path of a local directory");
  }
}
