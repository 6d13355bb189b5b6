package io.xenferry.server.messages;

import io.xenferry.model.Ref;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Row;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;
import io.xenferry.server.schema.Schema;
import java.util.List;
import java.util.Set;

/** Tasks as their clients handle them. */
final class TaskMessages {
  private static final String TEST = "TaskTest";

  private TaskMessages() {}

  static void register(Registry r) {
    r.implement(
        "task.create",
        c ->
            Value.of(
                c.server()
                    .tasks()
                    .create(
                        c.text(0),
                        c.text(1),
                        Ref.of(c.caller().ref()),
                        c.caller().user(),
                        Ref.nullRef())),
        TEST + ".aClientKeepsATaskOfItsOwn");
    r.implement("task.destroy", TaskMessages::destroy, TEST + ".aClientKeepsATaskOfItsOwn");
    r.implement("task.cancel", TaskMessages::cancel, TEST + ".cancelReachesTheWork");
    r.implement("task.set_status", TaskMessages::setStatus, TEST + ".aClientKeepsATaskOfItsOwn");
    r.implement("task.set_progress", c -> set(c, "progress"), TEST + ".aClientKeepsATaskOfItsOwn");
    r.implement("task.set_result", c -> set(c, "result"), TEST + ".aClientKeepsATaskOfItsOwn");
    r.implement(
        "task.set_error_info", c -> set(c, "error_info"), TEST + ".aClientKeepsATaskOfItsOwn");
  }

  /** Others' tasks are for operators. */
  private static void requireOwner(Call c, String ref) throws XenApiException {
    Schema.row(c.server().db().snapshot(), "task", ref);
    boolean own = c.server().tasks().owner(ref).map(o -> o.equals(callerName(c))).orElse(false);
    if (!own && !c.caller().operator()) {
      throw new XenApiException(
          "RBAC_PERMISSION_DENIED", c.message().wireName(), "It is another user's task");
    }
  }

  private static String callerName(Call c) {
    return c.session().map(s -> s.user()).orElse("");
  }

  private static Value destroy(Call c) throws XenApiException {
    requireOwner(c, c.text(0));
    c.server().tasks().destroy(c.text(0), Ref.random().opaque());
    return Value.VOID;
  }

  private static Value cancel(Call c) throws XenApiException {
    requireOwner(c, c.text(0));
    c.server().tasks().cancel(c.text(0), Ref.random().opaque());
    return Value.VOID;
  }

  private static Value setStatus(Call c) throws XenApiException {
    requireOwner(c, c.text(0));
    String status = c.text(1);
    if (!Set.of("success", "failure", "cancelled").contains(status)) {
      return set(c, "status");
    }
    c.server()
        .db()
        .change(tx -> {
          Schema schema = c.server().schema();
          Row row = Schema.row(tx, "task", c.text(0));
          if (schema.text(row, "status").equals("pending")) {
            schema.set(tx, "task", row.ref(), "finished", Value.of(c.server().clock().instant()));
            schema.set(tx, "task", row.ref(), "allowed_operations", new Value.Array(List.of()));
            schema.set(tx, "task", row.ref(), "status", c.arg(1));
          }
        });
    return Value.VOID;
  }

  private static Value set(Call c, String field) throws XenApiException {
    requireOwner(c, c.text(0));
    c.server()
        .db()
        .change(tx -> {
          Schema.row(tx, "task", c.text(0));
          c.server().schema().set(tx, "task", c.text(0), field, c.arg(1));
        });
    return Value.VOID;
  }
}
