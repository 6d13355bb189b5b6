package io.xenferry.server.messages;

import io.xenferry.model.DataModel;
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
import java.util.List;
import java.util.Map;

/**
 * What the built-in roles allow; permissions are messages' names in lower case, and keys of maps.
 */
final class RoleMessages {
  private static final String TEST = "SessionTest.rolesTellTheirPermissions";

  private RoleMessages() {}

  static void register(Registry r) {
    r.implement("role.get_permissions_name_label", RoleMessages::permissions, TEST);
    r.implement("role.get_by_permission_name_label", RoleMessages::byPermission, TEST);
    r.stream(
        "role.get_all_records_where", RoleMessages::records, "SessionTest.rolesAreListedForXe");
  }

  /**
   * As all classes have it, and one expression that is none: published clients ask so for roles
   * that are no permissions. All roles here are such.
   */
  private static Content records(Call c) throws XenApiException {
    String expression = c.text(0).strip();
    Query query =
        Query.parse(
            DataModel.classDef("role"), expression.equals("subroles<>[]") ? "true" : expression);
    Schema schema = c.server().schema();
    Snapshot db = c.server().db().snapshot();
    return new Content.Members(
        query.run(db).stream()
            .map(row -> Map.entry(row.ref(), Content.of((Value) schema.record(row))))
            .toList());
  }

  private static Value permissions(Call c) throws XenApiException {
    Row role = Schema.row(c.server().db().snapshot(), "role", c.text(0));
    String name = c.server().schema().text(role, "name_label");
    return Permission.ofRole(name);
  }

  private static Value byPermission(Call c) {
    List<String> names = Permission.all().getOrDefault(c.text(0), List.of());
    return Value.ofTexts(
        c.server().db().snapshot().rows("role").stream()
            .filter(row -> names.contains(c.server().schema().text(row, "name_label")))
            .map(Row::ref)
            .toList());
  }
}
