package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;

/** Values of records as text. Keeps what it looked up, so it serves one command. */
final class Display {
  static final String ABSENT = "<not in database>";
  static final String EXPENSIVE = "<expensive field>";
  private static final String DANGLING = "<invalid reference>";
  private static final String UNAVAILABLE = "<not available>";

  private static final DateTimeFormatter TIME =
      DateTimeFormatter.ofPattern("yyyyMMdd'T'HH:mm:ss'Z'", Locale.ROOT).withZone(ZoneOffset.UTC);

  private final Calls calls;
  private final Map<String, String> looked = new HashMap<>();
  private final Map<String, Map<String, Value>> followed = new HashMap<>();

  Display(Calls calls) {
    this.calls = calls;
  }

  /** The labelled fields of a record, in its order. */
  List<Map.Entry<String, String>> table(
      String ref,
      Map<String, Value> record,
      RecordClass type,
      Optional<Set<String>> chosen,
      boolean expensive) {
    List<Map.Entry<String, String>> table = new ArrayList<>();
    for (RecordField field : type.fields().values()) {
      if (!field.hidden() && (chosen.isEmpty() || chosen.get().contains(field.name()))) {
        String value = field.expensive() && !expensive ? EXPENSIVE : show(ref, record, field);
        table.add(Map.entry(field.label(), value));
      }
    }
    return table;
  }

  /** One field as text. A field that cannot be had does not spoil the others: it says so. */
  String show(String ref, Map<String, Value> record, RecordField field) {
    try {
      return compute(ref, record, field);
    } catch (XenApiException e) {
      return e.code().equals("HANDLE_INVALID") ? DANGLING : UNAVAILABLE;
    } catch (IllegalArgumentException e) {
      return UNAVAILABLE;
    }
  }

  private String compute(String ref, Map<String, Value> record, RecordField field)
      throws XenApiException {
    String show = field.show();
    if (show.startsWith("call:")) {
      return called(ref, show.substring(5));
    }
    if (show.startsWith("hosts:")) {
      return ofHosts(show.substring(6));
    }
    Optional<Value> value = follow(record, field);
    return switch (show) {
      case "sr-host" -> hostOfSr(record);
      case "vbd-vdi-name" ->
          Calls.truth(record.getOrDefault("empty", Value.of(false)))
              ? "<EMPTY>"
              : looked("VDI.name_label", Calls.field(record, "VDI"));
      case "rate" -> rate(record, field);
      case "cpu-rate" ->
          real(source("host", Calls.field(record, "host"), "cpu" + Calls.field(record, "number")));
      case "resolution" ->
          Calls.field(record, "max_resolution_x") + "x" + Calls.field(record, "max_resolution_y");
      case "duplex" -> duplex(record);
      case "attachable" -> attachable(ref);
      case "unavailable" -> "";
      default -> value.isEmpty() ? absent(field) : render(value.get(), show);
    };
  }

  /** The value at a path: a field, or a field of the object that a reference leads to. */
  private Optional<Value> follow(Map<String, Value> record, RecordField field)
      throws XenApiException {
    String path = field.path();
    int dot = path.indexOf('.');
    if (dot < 0) {
      return Optional.ofNullable(record.get(path));
    }
    String first = path.substring(0, dot);
    String ref = Calls.field(record, first);
    if (ref.isEmpty() || ref.equals(Calls.NULL)) {
      return Optional.empty();
    }
    Map<String, Value> other = followed.get(ref);
    if (other == null) {
      try {
        other = calls.record(classOf(field.apiClass(), first), ref);
      } catch (XenApiException e) {
        if (!e.code().equals("HANDLE_INVALID")) {
          throw e;
        }
        other = Map.of();
      }
      followed.put(ref, other);
    }
    return Optional.ofNullable(other.get(path.substring(dot + 1)));
  }

  private static String classOf(String apiClass, String field) {
    return switch (field) {
      case "metrics" -> apiClass + "_metrics";
      case "guest_metrics" -> "VM_guest_metrics";
      case "type" -> "VGPU_type";
      case "driver" -> "Host_driver";
      default -> field;
    };
  }

  private static String absent(RecordField field) {
    return field.path().startsWith("metrics.") && field.path().endsWith("_time")
        ? "<unknown time>"
        : ABSENT;
  }

  private String render(Value value, String show) throws XenApiException {
    if (show.startsWith("of:")) {
      return references(value, show.substring(3));
    }
    boolean comma = show.startsWith("comma");
    String words = show.startsWith("comma-") ? show.substring(6) : show;
    Optional<RecordClass.EnumWords> enumeration =
        words.startsWith("enum:")
            ? Optional.of(RecordClass.words(words.substring(5)))
            : Optional.empty();
    return switch (value) {
      case Value.Array a ->
          a.items().stream()
              .map(item -> word(item, enumeration))
              .collect(Collectors.joining(comma ? ", " : "; "));
      case Value.Struct s when enumeration.isPresent() -> enumerated(s, enumeration.get());
      case Value.Struct s ->
          s.members().entrySet().stream()
              .map(e -> e.getKey() + ": " + plain(e.getValue()))
              .collect(Collectors.joining("; "));
      default -> word(value, enumeration);
    };
  }

  /** Of a map to words, such as current operations, the words; of a map from words, pairs. */
  private static String enumerated(Value.Struct map, RecordClass.EnumWords words) {
    return map.members().entrySet().stream()
        .map(e ->
            e.getKey().startsWith("OpaqueRef:")
                ? words.show(plain(e.getValue()))
                : words.shown().containsKey(e.getKey())
                    ? words.show(e.getKey()) + ": " + plain(e.getValue())
                    : words.show(plain(e.getValue())))
        .collect(Collectors.joining("; "));
  }

  private static String word(Value value, Optional<RecordClass.EnumWords> enumeration) {
    String text = plain(value);
    return enumeration.isEmpty() ? text : enumeration.get().show(text);
  }

  static String plain(Value value) {
    return switch (value) {
      case Value.Text v -> v.text();
      case Value.Int v -> Long.toString(v.value());
      case Value.Real v -> real(v.value());
      case Value.Bool v -> Boolean.toString(v.value());
      case Value.Time v -> TIME.format(v.instant());
      case Value.Array v ->
          v.items().stream().map(Display::plain).collect(Collectors.joining("; "));
      case Value.Struct v ->
          v.members().entrySet().stream()
              .map(e -> e.getKey() + ": " + plain(e.getValue()))
              .collect(Collectors.joining("; "));
    };
  }

  private static String real(double value) {
    return String.format(Locale.ROOT, "%.3f", value);
  }

  private String references(Value value, String target) throws XenApiException {
    return switch (value) {
      case Value.Array a -> {
        List<String> texts = new ArrayList<>();
        for (Value item : a.items()) {
          texts.add(looked(target, Calls.text(item)));
        }
        yield String.join("; ", texts);
      }
      case Value.Struct s -> {
        List<String> texts = new ArrayList<>();
        for (Map.Entry<String, Value> e : s.members().entrySet()) {
          texts.add(e.getKey() + ": " + looked(target, Calls.text(e.getValue())));
        }
        yield String.join("; ", texts);
      }
      default -> looked(target, Calls.text(value));
    };
  }

  /** A field of a referenced object, or the words for one that is not there. */
  private String looked(String target, String ref) throws XenApiException {
    if (ref.isEmpty() || ref.equals(Calls.NULL)) {
      return ABSENT;
    }
    String key = target + ' ' + ref;
    String known = looked.get(key);
    if (known == null) {
      int dot = target.indexOf('.');
      try {
        known =
            plain(
                calls.call(
                    target.substring(0, dot) + ".get_" + target.substring(dot + 1), Value.of(ref)));
      } catch (XenApiException e) {
        if (!e.code().equals("HANDLE_INVALID")) {
          throw e;
        }
        known = ABSENT;
      }
      looked.put(key, known);
    }
    return known;
  }

  private String called(String ref, String method) throws XenApiException {
    int of = method.indexOf(":of:");
    if (of >= 0) {
      return references(
          calls.call(method.substring(0, of), Value.of(ref)), method.substring(of + 4));
    }
    return plain(
        method.equals("SR.get_supported_types")
            ? calls.call(method)
            : calls.call(method, Value.of(ref)));
  }

  private String ofHosts(String field) throws XenApiException {
    Set<String> values =
        calls.records("host", "true").values().stream()
            .map(host -> host.containsKey(field) ? plain(host.getOrDefault(field, Value.VOID)) : "")
            .collect(Collectors.toSet());
    if (values.size() == 1) {
      return values.iterator().next();
    }
    return field.equals("https_only") ? "false" : "<inconsistent>";
  }

  private String hostOfSr(Map<String, Value> sr) throws XenApiException {
    List<String> pbds = Calls.texts(sr.getOrDefault("PBDs", Value.VOID));
    if (pbds.size() > 1) {
      return "<shared>";
    }
    return pbds.isEmpty()
        ? ABSENT
        : looked("host.name_label", calls.of(pbds.getFirst(), "PBD.get_host"));
  }

  private String duplex(Map<String, Value> pif) throws XenApiException {
    String metrics = Calls.field(pif, "metrics");
    if (metrics.isEmpty() || metrics.equals(Calls.NULL)) {
      return ABSENT;
    }
    Map<String, Value> record = calls.record("PIF_metrics", metrics);
    if (!Calls.truth(record.getOrDefault("carrier", Value.of(false)))) {
      return "unknown";
    }
    return Calls.truth(record.getOrDefault("duplex", Value.of(false))) ? "full" : "half";
  }

  private String attachable(String ref) {
    try {
      calls.call("VBD.assert_attachable", Value.of(ref));
      return "true";
    } catch (XenApiException e) {
      return "false (error: " + e.code() + ")";
    }
  }

  private String rate(Map<String, Value> record, RecordField field) throws XenApiException {
    boolean read = field.name().equals("io_read_kbs");
    String device = Calls.field(record, "device");
    double bytes =
        switch (field.apiClass()) {
          case "PIF" ->
              source("host", Calls.field(record, "host"), "pif_" + device + (read ? "_rx" : "_tx"));
          case "VIF" ->
              source("VM", Calls.field(record, "VM"), "vif_" + device + (read ? "_rx" : "_tx"));
          default ->
              source(
                  "VM", Calls.field(record, "VM"), "vbd_" + device + (read ? "_read" : "_write"));
        };
    return real(bytes / 1024);
  }

  private double source(String owner, String ref, String name) throws XenApiException {
    Value value = calls.call(owner + ".query_data_source", Value.of(ref), Value.of(name));
    return value instanceof Value.Real r ? r.value() : Calls.number(value);
  }
}
