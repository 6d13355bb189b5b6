package io.xenferry.server.messages;

import io.xenferry.model.ClassDef;
import io.xenferry.model.DataModel;
import io.xenferry.model.MessageDef;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.model.query.Query;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;
import io.xenferry.server.schema.Schema;
import io.xenferry.server.session.Permission;
import io.xenferry.wire.Content;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.UUID;

/**
 * The built-in roles, and what they allow. A permission is the name of a message in lower case, or
 * a key of a map; to clients it is a role without subroles, and a role's subroles are its
 * permissions. Roles are rows; permissions follow from the data model and are in no table: their
 * references and uuids follow from their names.
 */
final class RoleMessages {
  private static final String TEST = "RoleTest.";

  /** Published clients ask so for roles that are no permissions, and for the others. */
  private static final String ROLES_ONLY = "subroles<>[]";

  private static final String PERMISSIONS_ONLY = "subroles=[]";

  private static final String PREFIX = "OpaqueRef:";

  /** Uuids by name. */
  private static final Map<String, String> UUIDS = uuids();

  /** Names by reference. */
  private static final Map<String, String> NAMES = names();

  private RoleMessages() {}

  private static Map<String, String> uuids() {
    Map<String, String> uuids = new LinkedHashMap<>();
    for (String name : Permission.all().keySet()) {
      byte[] bytes = ("permission " + name).getBytes(StandardCharsets.UTF_8);
      uuids.put(name, UUID.nameUUIDFromBytes(bytes).toString());
    }
    return uuids;
  }

  private static Map<String, String> names() {
    Map<String, String> names = new LinkedHashMap<>();
    UUIDS.forEach((name, uuid) -> names.put(PREFIX + uuid, name));
    return names;
  }

  static void register(Registry r) {
    String listed = TEST + "rolesAndPermissionsAreListed";
    r.stream("role.get_all_records_where", RoleMessages::where, TEST + "rolesAreListedForXe");
    r.stream("role.get_all_records", RoleMessages::records, listed);
    ClassDef type = DataModel.classDef("role");
    for (MessageDef m : type.messages()) {
      switch (DataModel.kindOf(m)) {
        case GET -> {
          String field = m.field().orElseThrow().name();
          r.implement(
              m.wireName(), c -> record(c, c.text(0)).getOrDefault(field, Value.VOID), listed);
        }
        case GET_RECORD ->
            r.implement(m.wireName(), c -> new Value.Struct(record(c, c.text(0))), listed);
        case GET_ALL -> r.implement(m.wireName(), c -> Value.ofTexts(all(c)), listed);
        case GET_BY_UUID -> r.implement(m.wireName(), RoleMessages::byUuid, listed);
        case GET_BY_NAME_LABEL -> r.implement(m.wireName(), RoleMessages::byName, listed);
        default -> {}
      }
    }
    String permissions = TEST + "rolesTellTheirPermissions";
    r.implement(
        "role.get_permissions", c -> refs(((Value.Array) permissions(c)).items()), permissions);
    r.implement("role.get_permissions_name_label", RoleMessages::permissions, permissions);
    r.implement(
        "role.get_by_permission",
        c -> roles(c, Optional.ofNullable(NAMES.get(c.text(0)))),
        permissions);
    r.implement(
        "role.get_by_permission_name_label", c -> roles(c, Optional.of(c.text(0))), permissions);
  }

  private static Value refs(Collection<Value> names) {
    List<String> refs = new ArrayList<>();
    for (Value name : names) {
      refs.add(PREFIX + UUIDS.get(((Value.Text) name).text()));
    }
    return Value.ofTexts(refs);
  }

  private static List<String> all(Call c) {
    List<String> all = new ArrayList<>();
    c.server().db().snapshot().rows("role").forEach(row -> all.add(row.ref()));
    all.addAll(NAMES.keySet());
    return all;
  }

  /** Of a role or a permission. */
  private static SequencedMap<String, Value> record(Call c, String ref) throws XenApiException {
    String permission = NAMES.get(ref);
    if (permission != null) {
      return permission(permission);
    }
    return role(c, Schema.row(c.server().db().snapshot(), "role", ref));
  }

  private static SequencedMap<String, Value> permission(String name) {
    SequencedMap<String, Value> record = new LinkedHashMap<>();
    record.put("uuid", Value.of(String.valueOf(UUIDS.get(name))));
    record.put("name_label", Value.of(name));
    record.put("name_description", Value.of("A basic permission"));
    record.put("subroles", Value.EMPTY_ARRAY);
    record.put("is_internal", Value.of(false));
    return record;
  }

  private static SequencedMap<String, Value> role(Call c, Row row) {
    Schema schema = c.server().schema();
    SequencedMap<String, Value> record = new LinkedHashMap<>(schema.record(row).members());
    Value names = Permission.ofRole(schema.text(row, "name_label"));
    record.put("subroles", refs(((Value.Array) names).items()));
    return record;
  }

  private static Value byUuid(Call c) throws XenApiException {
    if (NAMES.containsKey(PREFIX + c.text(0))) {
      return Value.of(PREFIX + c.text(0));
    }
    return c.server()
        .db()
        .snapshot()
        .byUuid("role", c.text(0))
        .map(row -> Value.of(row.ref()))
        .orElseThrow(() -> new XenApiException("UUID_INVALID", "role", c.text(0)));
  }

  private static Value byName(Call c) {
    if (UUIDS.containsKey(c.text(0))) {
      return refs(List.of(Value.of(c.text(0))));
    }
    return Value.ofTexts(
        c.server().db().snapshot().rows("role").stream()
            .filter(row -> c.server().schema().text(row, "name_label").equals(c.text(0)))
            .map(Row::ref)
            .toList());
  }

  private static Content where(Call c) throws XenApiException {
    String expression = c.text(0).strip();
    Snapshot db = c.server().db().snapshot();
    return switch (expression) {
      case ROLES_ONLY -> new Content.Members(of(c, db.rows("role")));
      case PERMISSIONS_ONLY -> new Content.Members(permissions(NAMES.keySet()));
      case "true", "True" -> records(c);
      default ->
          new Content.Members(of(c, Query.parse(DataModel.classDef("role"), expression).run(db)));
    };
  }

  private static Content records(Call c) {
    List<Map.Entry<String, Content>> records =
        new ArrayList<>(of(c, c.server().db().snapshot().rows("role")));
    records.addAll(permissions(NAMES.keySet()));
    return new Content.Members(records);
  }

  private static List<Map.Entry<String, Content>> of(Call c, Collection<Row> rows) {
    return rows.stream()
        .map(row -> Map.entry(row.ref(), Content.of((Value) new Value.Struct(role(c, row)))))
        .toList();
  }

  private static List<Map.Entry<String, Content>> permissions(Collection<String> refs) {
    return refs.stream()
        .map(ref -> {
          String name = String.valueOf(NAMES.get(ref));
          return Map.entry(ref, Content.of((Value) new Value.Struct(permission(name))));
        })
        .toList();
  }

  /** Names of what a role allows; a permission allows itself. */
  private static Value permissions(Call c) throws XenApiException {
    String permission = NAMES.get(c.text(0));
    if (permission != null) {
      return Value.ofTexts(List.of(permission));
    }
    Row role = Schema.row(c.server().db().snapshot(), "role", c.text(0));
    return Permission.ofRole(c.server().schema().text(role, "name_label"));
  }

  private static Value roles(Call c, Optional<String> permission) {
    List<String> names =
        permission.map(p -> Permission.all().getOrDefault(p, List.of())).orElse(List.of());
    return Value.ofTexts(
        c.server().db().snapshot().rows("role").stream()
            .filter(row -> names.contains(c.server().schema().text(row, "name_label")))
            .map(Row::ref)
            .toList());
  }
}
