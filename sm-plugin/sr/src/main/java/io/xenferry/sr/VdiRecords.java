package io.xenferry.sr;

import java.time.Instant;
import java.time.format.DateTimeParseException;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;

/** The record of a VDI as a driver stores it; sizes are not in it, the volume knows them. */
final class VdiRecords {
  static final String STATE = "state";
  static final String READY = "ready";
  static final String CREATING = "creating";
  static final String DESTROYING = "destroying";
  private static final String SM_CONFIG = "sm_config:";

  /** The volume knows them. */
  private static final Set<String> SHOWN =
      Set.of(VdiInfo.SM_CONFIG_FORMAT, VdiInfo.SM_CONFIG_PARENT);

  private VdiRecords() {}

  static Map<String, String> write(VdiInfo info, String state) {
    Map<String, String> record = new LinkedHashMap<>();
    record.put(STATE, state);
    info.uuid().ifPresent(u -> record.put("uuid", u));
    record.put("content_id", info.contentId());
    record.put("name_label", info.nameLabel());
    record.put("name_description", info.nameDescription());
    record.put("type", info.type());
    record.put("metadata_of_pool", info.metadataOfPool());
    record.put("is_a_snapshot", String.valueOf(info.isASnapshot()));
    record.put("snapshot_time", info.snapshotTime().toString());
    record.put("snapshot_of", info.snapshotOf());
    record.put("read_only", String.valueOf(info.readOnly()));
    record.put("sharable", String.valueOf(info.sharable()));
    info.smConfig()
        .forEach((k, v) -> {
          if (!SHOWN.contains(k)) {
            record.put(SM_CONFIG + k, v);
          }
        });
    return record;
  }

  /**
   * @param shown keys of sm_config that the volume knows
   */
  static VdiInfo read(
      String key,
      Map<String, String> record,
      long size,
      long allocated,
      Map<String, String> shown) {
    Map<String, String> smConfig = new TreeMap<>(shown);
    record.forEach((k, v) -> {
      if (k.startsWith(SM_CONFIG)) {
        smConfig.put(k.substring(SM_CONFIG.length()), v);
      }
    });
    String contentId = record.getOrDefault("content_id", "");
    return new VdiInfo(
        key,
        Optional.ofNullable(record.get("uuid")),
        contentId.isEmpty() ? key : contentId,
        record.getOrDefault("name_label", ""),
        record.getOrDefault("name_description", ""),
        record.getOrDefault("type", "user"),
        record.getOrDefault("metadata_of_pool", ""),
        Boolean.parseBoolean(record.get("is_a_snapshot")),
        time(record.getOrDefault("snapshot_time", "")),
        record.getOrDefault("snapshot_of", ""),
        Boolean.parseBoolean(record.get("read_only")),
        false,
        size,
        allocated,
        true,
        Boolean.parseBoolean(record.get("sharable")),
        smConfig);
  }

  private static Instant time(String text) {
    try {
      return text.isEmpty() ? Instant.EPOCH : Instant.parse(text);
    } catch (DateTimeParseException e) {
      return Instant.EPOCH;
    }
  }
}
