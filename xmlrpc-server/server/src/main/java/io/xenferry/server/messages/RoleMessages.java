package io.xenferry.server.messages;

import io.xenferry.model.DataModel;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Row;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;
import io.xenferry.server.schema.Schema;
import java.util.List;
import java.util.Locale;

/** What the built-in roles allow; permissions are messages' names in lower case. */
final class RoleMessages {
  private static final String TEST = "SessionTest.rolesTellTheirPermissions";

  private RoleMessages() {}

  static void register(Registry r) {
    r.implement("role.get_permissions_name_label", RoleMessages::permissions, TEST);
    r.implement("role.get_by_permission_name_label", RoleMessages::byPermission, TEST);
  }

  private static Value permissions(Call c) throws XenApiException {
    Row role = Schema.row(c.server().db().snapshot(), "role", c.text(0));
    String name = c.server().schema().text(role, "name_label");
    return Value.ofTexts(
        DataModel.classes().stream()
            .flatMap(t -> t.messages().stream())
            .filter(m -> m.roles().contains(name))
            .map(m -> m.wireName().toLowerCase(Locale.ROOT))
            .toList());
  }

  private static Value byPermission(Call c) {
    List<String> names =
        DataModel.classes().stream()
            .flatMap(t -> t.messages().stream())
            .filter(m -> m.wireName().toLowerCase(Locale.ROOT).equals(c.text(0)))
            .findFirst()
            .map(m -> m.roles())
            .orElse(List.of());
    return Value.ofTexts(
        c.server().db().snapshot().rows("role").stream()
            .filter(row -> names.contains(c.server().schema().text(row, "name_label")))
            .map(Row::ref)
            .toList());
  }
}
