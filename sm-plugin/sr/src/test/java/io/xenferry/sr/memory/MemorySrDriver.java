package io.xenferry.sr.memory;

import io.xenferry.sr.ProbeResult;
import io.xenferry.sr.QueryResult;
import io.xenferry.sr.SmError;
import io.xenferry.sr.SmapiException;
import io.xenferry.sr.SrDriver;
import io.xenferry.sr.StorageRepository;
import io.xenferry.sr.VolumeRepository;
import io.xenferry.sr.file.FileSrDriver;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;

/**
 * A mocked back end: the SR type {@code memory}. Content lives as long as the driver object; {@code
 * device-config:capacity} is in bytes, 1 TiB if not given.
 */
public final class MemorySrDriver implements SrDriver {
  private final Map<String, MemoryVolumes> repositories = new ConcurrentHashMap<>();

  @Override
  public String type() {
    return "memory";
  }

  /** What is behind an SR, to make it fail. */
  public Optional<MemoryVolumes> volumes(String sr) {
    return Optional.ofNullable(repositories.get(sr));
  }

  @Override
  public QueryResult query() {
    return new QueryResult(
        type(),
        "Memory",
        "Disks in memory, gone with the process",
        "XenFerry",
        "Apache-2.0",
        "1.0",
        "2.0",
        FileSrDriver.FEATURES,
        Map.of("capacity", "bytes"));
  }

  @Override
  public Map<String, String> create(
      String sr,
      String nameLabel,
      String nameDescription,
      Map<String, String> deviceConfig,
      long physicalSize)
      throws SmapiException {
    long capacity;
    try {
      capacity = Long.parseLong(deviceConfig.getOrDefault("capacity", String.valueOf(1L << 40)));
    } catch (NumberFormatException e) {
      throw SmapiException.failure(SmError.SR_UNAVAILABLE, "capacity is no number").withCause(e);
    }
    MemoryVolumes volumes = new MemoryVolumes(capacity);
    if (repositories.putIfAbsent(sr, volumes) != null) {
      throw SmapiException.failure(SmError.SR_EXISTS, "the SR exists already");
    }
    try {
      volumes.putSrRecord(Map.of("name_label", nameLabel, "name_description", nameDescription));
    } catch (IOException e) {
      throw SmapiException.failure(SmError.METADATA, e.toString()).withCause(e);
    }
    return deviceConfig;
  }

  @Override
  public StorageRepository attach(String sr, Map<String, String> deviceConfig)
      throws SmapiException {
    MemoryVolumes volumes = repositories.get(sr);
    if (volumes == null || volumes.srRecord().isEmpty()) {
      throw SmapiException.failure(SmError.SR_UNAVAILABLE, "there is no such SR in memory");
    }
    if (!volumes.attach()) {
      throw SmapiException.failure(SmError.SR_IN_USE, "the SR is attached already");
    }
    return VolumeRepository.open(sr, volumes);
  }

  @Override
  public List<ProbeResult> probe(Map<String, String> deviceConfig, Map<String, String> smConfig) {
    return List.of(new ProbeResult(deviceConfig, true, Optional.empty(), Map.of()));
  }
}
