package io.xenferry.sr;

import io.xenferry.model.Value;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.time.format.DateTimeParseException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.TreeMap;

/**
 * SMAPIv2's records as values: absent members are left out, variants are a name or {@code [name,
 * payload]}, maps of text are structs.
 */
final class Smapi {
  private static final DateTimeFormatter TIME =
      DateTimeFormatter.ofPattern("yyyyMMdd'T'HH:mm:ss'Z'").withZone(ZoneOffset.UTC);

  private Smapi() {}

  static Value of(VdiInfo v) {
    SequencedMap<String, Value> m = new LinkedHashMap<>();
    m.put("vdi", Value.of(v.vdi()));
    v.uuid().ifPresent(u -> m.put("uuid", Value.of(u)));
    m.put("content_id", Value.of(v.contentId()));
    m.put("name_label", Value.of(v.nameLabel()));
    m.put("name_description", Value.of(v.nameDescription()));
    m.put("ty", Value.of(v.type()));
    m.put("metadata_of_pool", Value.of(v.metadataOfPool()));
    m.put("is_a_snapshot", Value.of(v.isASnapshot()));
    m.put("snapshot_time", Value.of(TIME.format(v.snapshotTime())));
    m.put("snapshot_of", Value.of(v.snapshotOf()));
    m.put("read_only", Value.of(v.readOnly()));
    m.put("cbt_enabled", Value.of(v.cbtEnabled()));
    m.put("virtual_size", Value.of(v.virtualSize()));
    m.put("physical_utilisation", Value.of(v.physicalUtilisation()));
    m.put("persistent", Value.of(v.persistent()));
    m.put("sharable", Value.of(v.sharable()));
    m.put("sm_config", Value.ofTexts(v.smConfig()));
    return new Value.Struct(m);
  }

  static VdiInfo vdiInfo(Args a) throws SmapiException {
    return new VdiInfo(
        a.text("vdi", ""),
        a.has("uuid") ? Optional.of(a.text("uuid", "")) : Optional.empty(),
        a.text("content_id", ""),
        a.text("name_label", ""),
        a.text("name_description", ""),
        a.text("ty", "user"),
        a.text("metadata_of_pool", ""),
        a.bool("is_a_snapshot", false),
        time(a.text("snapshot_time", "")),
        a.text("snapshot_of", ""),
        a.bool("read_only", false),
        a.bool("cbt_enabled", false),
        a.number("virtual_size", 0),
        a.number("physical_utilisation", 0),
        a.bool("persistent", true),
        a.bool("sharable", false),
        a.has("sm_config") ? a.texts("sm_config") : Map.of());
  }

  static Value of(SrInfo s) {
    SequencedMap<String, Value> m = new LinkedHashMap<>();
    m.put("sr_uuid", Value.of(s.uuid()));
    m.put("name_label", Value.of(s.nameLabel()));
    m.put("name_description", Value.of(s.nameDescription()));
    m.put("total_space", Value.of(s.totalSpace()));
    m.put("free_space", Value.of(s.freeSpace()));
    m.put("clustered", Value.of(s.clustered()));
    m.put("health", Value.of(s.health().word()));
    return new Value.Struct(m);
  }

  static Value of(QueryResult q) {
    SequencedMap<String, Value> m = new LinkedHashMap<>();
    m.put("driver", Value.of(q.driver()));
    m.put("name", Value.of(q.name()));
    m.put("description", Value.of(q.description()));
    m.put("vendor", Value.of(q.vendor()));
    m.put("copyright", Value.of(q.copyright()));
    m.put("version", Value.of(q.version()));
    m.put("required_api_version", Value.of(q.requiredApiVersion()));
    m.put("features", Value.ofTexts(q.features()));
    m.put("configuration", Value.ofTexts(q.configuration()));
    m.put("required_cluster_stack", new Value.Array(List.of()));
    return new Value.Struct(m);
  }

  static Value backend(List<Implementation> implementations) {
    List<Value> items = new ArrayList<>();
    for (Implementation i : implementations) {
      items.add(
          switch (i) {
            case Implementation.XenDisk(String params, Map<String, String> extra, String type) -> {
              SequencedMap<String, Value> m = new LinkedHashMap<>();
              m.put("params", Value.of(params));
              m.put("extra", Value.ofTexts(extra));
              m.put("backend_type", Value.of(type));
              yield variant("XenDisk", new Value.Struct(m));
            }
            case Implementation.BlockDevice(String path) ->
                variant("BlockDevice", Value.ofTexts(Map.of("path", path)));
            case Implementation.File(String path) ->
                variant("File", Value.ofTexts(Map.of("path", path)));
            case Implementation.Nbd(String uri) ->
                variant("Nbd", Value.ofTexts(Map.of("uri", uri)));
          });
    }
    return Value.Struct.of(Map.of("implementations", new Value.Array(items)));
  }

  /** The answer of the oldest attach: what a guest's disk is opened by. */
  static Value attachInfo(List<Implementation> implementations) {
    SequencedMap<String, Value> m = new LinkedHashMap<>();
    String params = "";
    Map<String, String> extra = Map.of();
    for (Implementation i : implementations) {
      if (i instanceof Implementation.XenDisk disk) {
        params = disk.params();
        extra = disk.extra();
      }
    }
    m.put("params", Value.of(params));
    m.put("o_direct", Value.of(true));
    m.put("o_direct_reason", Value.of(""));
    m.put("xenstore_data", Value.ofTexts(extra));
    return new Value.Struct(m);
  }

  static Value probe(List<ProbeResult> results) {
    List<Value> items = new ArrayList<>();
    for (ProbeResult r : results) {
      SequencedMap<String, Value> m = new LinkedHashMap<>();
      m.put("configuration", Value.ofTexts(r.configuration()));
      m.put("complete", Value.of(r.complete()));
      r.sr().ifPresent(sr -> m.put("sr", of(sr)));
      m.put("extra_info", Value.ofTexts(r.extra()));
      items.add(new Value.Struct(m));
    }
    return variant("Probe", new Value.Array(items));
  }

  static Value variant(String name, Value payload) {
    return new Value.Array(List.of(Value.of(name), payload));
  }

  private static Instant time(String text) {
    try {
      return text.isEmpty() ? Instant.EPOCH : Instant.from(TIME.parse(text));
    } catch (DateTimeParseException e) {
      return Instant.EPOCH;
    }
  }

  /** The named arguments of a call, or the members of a record, read strictly. */
  record Args(Value.Struct members) {
    boolean has(String name) {
      return members.members().containsKey(name);
    }

    String text(String name) throws SmapiException {
      if (!has(name)) {
        throw SmapiException.missingParameter(name);
      }
      return text(name, "");
    }

    String text(String name, String otherwise) throws SmapiException {
      return switch (members.members().get(name)) {
        case null -> otherwise;
        case Value.Text(String text) -> text;
        case Value.Int(long number) -> String.valueOf(number);
        default -> throw malformed(name);
      };
    }

    long number(String name, long otherwise) throws SmapiException {
      try {
        return switch (members.members().get(name)) {
          case null -> otherwise;
          case Value.Int(long number) -> number;
          case Value.Text(String text) -> Long.parseLong(text);
          default -> throw malformed(name);
        };
      } catch (NumberFormatException e) {
        throw malformed(name);
      }
    }

    boolean bool(String name, boolean otherwise) throws SmapiException {
      return switch (members.members().get(name)) {
        case null -> otherwise;
        case Value.Bool(boolean value) -> value;
        case Value.Text(String text) when text.equals("true") || text.equals("1") -> true;
        case Value.Text(String text) when text.equals("false") || text.equals("0") -> false;
        default -> throw malformed(name);
      };
    }

    Map<String, String> texts(String name) throws SmapiException {
      if (!(members.members().get(name) instanceof Value.Struct struct)) {
        throw has(name) ? malformed(name) : SmapiException.missingParameter(name);
      }
      Map<String, String> map = new TreeMap<>();
      Args inner = new Args(struct);
      for (String key : struct.members().keySet()) {
        map.put(key, inner.text(key, ""));
      }
      return map;
    }

    Args struct(String name) throws SmapiException {
      if (members.members().get(name) instanceof Value.Struct struct) {
        return new Args(struct);
      }
      throw has(name) ? malformed(name) : SmapiException.missingParameter(name);
    }

    private static SmapiException malformed(String name) {
      return SmapiException.internal("parameter " + name + " has the wrong type");
    }
  }
}
