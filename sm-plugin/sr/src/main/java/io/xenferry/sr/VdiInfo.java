package io.xenferry.sr;

import java.time.Instant;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * A VDI as SMAPIv2 describes it (vdi_info).
 *
 * @param vdi its location, which names it within its SR; empty when it is yet to be made
 * @param uuid as the pool's database has it
 * @param contentId equal for VDIs of equal content; changes when the VDI may have been written
 * @param type {@code user}, {@code system}, {@code suspend} …
 * @param snapshotOf the location of the VDI that it was taken of; empty if none
 * @param virtualSize bytes that a guest sees
 * @param physicalUtilisation bytes in use in the SR
 */
public record VdiInfo(
    String vdi,
    Optional<String> uuid,
    String contentId,
    String nameLabel,
    String nameDescription,
    String type,
    String metadataOfPool,
    boolean isASnapshot,
    Instant snapshotTime,
    String snapshotOf,
    boolean readOnly,
    boolean cbtEnabled,
    long virtualSize,
    long physicalUtilisation,
    boolean persistent,
    boolean sharable,
    Map<String, String> smConfig) {

  /** Names in sm_config the migration that made the VDI, so that orphans can be found. */
  public static final String SM_CONFIG_MIGRATION = "xenferry-migration";

  /**
   * In sm_config: the first of the VDIs of which it is one that has moved, time and again, by its
   * uuid. What descends from the same may have much in common.
   */
  public static final String SM_CONFIG_LINEAGE = "xenferry-lineage";

  /** In sm_config, while it is filled: the VDI of which it began as a copy. */
  public static final String SM_CONFIG_BASE = "xenferry-base";

  /** In sm_config: the format that is asked for, and that a disk has. */
  public static final String SM_CONFIG_FORMAT = "image-format";

  /** In sm_config, shown only: the image below the disk's own. */
  public static final String SM_CONFIG_PARENT = "image-parent";

  /** The type of a snapshot whose content was destroyed and whose changed blocks are known. */
  public static final String CBT_METADATA = "cbt_metadata";

  public VdiInfo {
    smConfig = Map.copyOf(smConfig);
  }

  /** What a caller gives to have a plain disk made. */
  public static VdiInfo request(String nameLabel, long virtualSize) {
    return new VdiInfo(
        "",
        Optional.empty(),
        "",
        nameLabel,
        "",
        "user",
        "",
        false,
        Instant.EPOCH,
        "",
        false,
        false,
        virtualSize,
        0,
        true,
        false,
        Map.of());
  }

  /** The migration that made it, if any. */
  public Optional<String> migration() {
    return Optional.ofNullable(smConfig.get(SM_CONFIG_MIGRATION));
  }

  public VdiInfo withUuid(String value) {
    return edit().uuid(value).done();
  }

  public VdiInfo withSmConfig(String key, String value) {
    Map<String, String> more = new TreeMap<>(smConfig);
    more.put(key, value);
    return edit().smConfig(more).done();
  }

  public VdiInfo withoutSmConfig(String key) {
    Map<String, String> less = new TreeMap<>(smConfig);
    less.remove(key);
    return edit().smConfig(less).done();
  }

  /** A copy to change before it is done. */
  public Edit edit() {
    return new Edit(this);
  }

  /** A changed copy in the making. */
  public static final class Edit {
    private final VdiInfo from;
    private String vdi;
    private Optional<String> uuid;
    private String contentId;
    private String nameLabel;
    private String nameDescription;
    private String type;
    private boolean isASnapshot;
    private Instant snapshotTime;
    private String snapshotOf;
    private long virtualSize;
    private long physicalUtilisation;
    private boolean cbtEnabled;
    private Map<String, String> smConfig;

    private Edit(VdiInfo from) {
      this.from = from;
      vdi = from.vdi;
      uuid = from.uuid;
      contentId = from.contentId;
      nameLabel = from.nameLabel;
      nameDescription = from.nameDescription;
      type = from.type;
      isASnapshot = from.isASnapshot;
      snapshotTime = from.snapshotTime;
      snapshotOf = from.snapshotOf;
      virtualSize = from.virtualSize;
      physicalUtilisation = from.physicalUtilisation;
      cbtEnabled = from.cbtEnabled;
      smConfig = from.smConfig;
    }

    public Edit vdi(String value) {
      vdi = value;
      return this;
    }

    public Edit uuid(String value) {
      uuid = Optional.of(value);
      return this;
    }

    public Edit contentId(String value) {
      contentId = value;
      return this;
    }

    public Edit nameLabel(String value) {
      nameLabel = value;
      return this;
    }

    public Edit nameDescription(String value) {
      nameDescription = value;
      return this;
    }

    public Edit snapshotOf(String value, Instant time) {
      isASnapshot = true;
      snapshotOf = value;
      snapshotTime = time;
      return this;
    }

    public Edit type(String value) {
      type = value;
      return this;
    }

    public Edit sizes(long virtual, long physical) {
      virtualSize = virtual;
      physicalUtilisation = physical;
      return this;
    }

    public Edit cbtEnabled(boolean value) {
      cbtEnabled = value;
      return this;
    }

    public Edit smConfig(Map<String, String> value) {
      smConfig = value;
      return this;
    }

    public VdiInfo done() {
      return new VdiInfo(
          vdi,
          uuid,
          contentId,
          nameLabel,
          nameDescription,
          type,
          from.metadataOfPool,
          isASnapshot,
          snapshotTime,
          snapshotOf,
          from.readOnly,
          cbtEnabled,
          virtualSize,
          physicalUtilisation,
          from.persistent,
          from.sharable,
          smConfig);
    }
  }
}
