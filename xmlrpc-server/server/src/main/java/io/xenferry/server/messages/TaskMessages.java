package io.xenferry.server.messages;

import io.xenferry.model.Ref;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.server.call.Accessors;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;
import io.xenferry.server.schema.Schema;
import io.xenferry.server.session.Session;
import java.util.List;

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
    r.implement(
        "task.set_progress", TaskMessages::setProgress, TEST + ".aClientKeepsATaskOfItsOwn");
    r.implement("task.set_result", c -> set(c, "result"), TEST + ".aClientKeepsATaskOfItsOwn");
    r.implement(
        "task.set_error_info", c -> set(c, "error_info"), TEST + ".aClientKeepsATaskOfItsOwn");
    for (String change : List.of("set_", "add_to_", "remove_from_")) {
      r.implement(
          "task." + change + "other_config",
          TaskMessages::changeConfig,
          TEST + ".whatOthersKeepWithTheirTasksStays");
    }
  }

  /** Keys that clients keep with tasks; what the server relies on is elsewhere. */
  private static Value changeConfig(Call c) throws XenApiException {
    requireOwner(c, c.text(0));
    Accessors.change(c, tx -> {});
    return Value.VOID;
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
    return c.session().map(Session::user).orElse("");
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
    c.server().tasks().end(c.text(0), c.text(1));
    return Value.VOID;
  }

  /** Kept between 0 and 1: clients count beyond, and say -1 where they do not know. */
  private static Value setProgress(Call c) throws XenApiException {
    requireOwner(c, c.text(0));
    double progress = Math.clamp(c.real(1), 0.0, 1.0);
    c.server().tasks().tell(c.text(0), "progress", Value.of(progress));
    return Value.VOID;
  }

  private static Value set(Call c, String field) throws XenApiException {
    requireOwner(c, c.text(0));
    c.server().tasks().tell(c.text(0), field, c.arg(1));
    return Value.VOID;
  }
}
