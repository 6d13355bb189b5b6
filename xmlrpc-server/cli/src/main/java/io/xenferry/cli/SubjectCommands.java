package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.util.List;
import java.util.Map;

/** Users and groups of the host who are let in, their roles and their sessions. */
final class SubjectCommands {
  private SubjectCommands() {}

  static void register(Map<String, Command.Handler> commands) {
    commands.put("subject-add", SubjectCommands::add);
    commands.put(
        "subject-remove",
        run ->
            run.calls()
                .call(
                    "subject.destroy",
                    Value.of(run.calls().byUuid("subject", run.arguments().need("subject-uuid")))));
    commands.put("subject-role-add", run -> changeRole(run, "subject.add_to_roles"));
    commands.put("subject-role-remove", run -> changeRole(run, "subject.remove_from_roles"));
    commands.put("session-subject-identifier-list", run -> run.printer().list(identifiers(run)));
    commands.put(
        "session-subject-identifier-logout",
        run -> logout(run, run.arguments().need("subject-identifier")));
    commands.put(
        "session-subject-identifier-logout-all",
        run -> {
          for (String identifier : identifiers(run)) {
            logout(run, identifier);
          }
        });
    for (String change : List.of("enable", "disable")) {
      commands.put("pool-" + change + "-external-auth", run -> externalAuth(run, change));
    }
  }

  private static void add(Run run) throws XenApiException, CliException, IOException {
    Calls calls = run.calls();
    String identifier =
        calls.text("auth.get_subject_identifier", Value.of(run.arguments().need("subject-name")));
    String subject =
        calls.text(
            "subject.create",
            Value.Struct.of(
                Map.of(
                    "subject_identifier",
                    Value.of(identifier),
                    "other_config",
                    Value.EMPTY_STRUCT)));
    run.printer().line(calls.uuid("subject", subject));
  }

  private static void changeRole(Run run, String method) throws XenApiException, CliException {
    Calls calls = run.calls();
    String subject = calls.byUuid("subject", run.arguments().need("uuid"));
    calls.call(method, Value.of(subject), Value.of(role(run)));
  }

  private static String role(Run run) throws XenApiException, CliException {
    String uuid = run.arguments().get("role-uuid", "");
    if (!uuid.isEmpty()) {
      return run.calls().byUuid("role", uuid);
    }
    String name = run.arguments().get("role-name", "");
    if (name.isEmpty()) {
      throw CliException.failed("One of these is needed: role-name, role-uuid");
    }
    List<String> named = Calls.texts(run.calls().call("role.get_by_name_label", Value.of(name)));
    if (named.isEmpty()) {
      throw CliException.failed("There is no role '%s'".formatted(name));
    }
    return named.getFirst();
  }

  private static List<String> identifiers(Run run) throws XenApiException {
    return Calls.texts(run.calls().call("session.get_all_subject_identifiers"));
  }

  private static void logout(Run run, String identifier) throws XenApiException {
    run.calls().call("session.logout_subject_identifier", Value.of(identifier));
  }

  private static void externalAuth(Run run, String change) throws XenApiException, CliException {
    Calls calls = run.calls();
    String given = run.arguments().get("uuid", "");
    String pool =
        given.isEmpty()
            ? Calls.texts(calls.call("pool.get_all")).getFirst()
            : calls.byUuid("pool", given);
    Value config = Value.ofTexts(run.arguments().map("config"));
    if (change.equals("disable")) {
      calls.call("pool.disable_external_auth", Value.of(pool), config);
    } else {
      calls.call(
          "pool.enable_external_auth",
          Value.of(pool),
          config,
          Value.of(run.arguments().need("service-name")),
          Value.of(run.arguments().need("auth-type")));
    }
  }
}
