package io.xenferry.server.messages;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Row;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;
import io.xenferry.server.schema.Schema;
import io.xenferry.server.session.Subjects;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Users and groups of the host whom an administrator lets in, and the roles that they have. As with
 * published servers this is off until {@code enable_external_auth}; of their types there is {@code
 * PAM}.
 */
final class SubjectMessages {
  private static final String TEST = "SubjectTest.";

  private SubjectMessages() {}

  static void register(Registry r) {
    String lookedUp = TEST + "whomTheHostKnowsIsLookedUp";
    r.implement("auth.get_subject_identifier", SubjectMessages::identifier, lookedUp);
    r.implement(
        "auth.get_subject_information_from_identifier",
        c -> Value.ofTexts(information(c, c.text(0))),
        lookedUp);
    r.implement("auth.get_group_membership", SubjectMessages::groups, lookedUp);
    String comesAndGoes = TEST + "aSubjectComesAndGoes";
    r.implement("subject.create", SubjectMessages::create, comesAndGoes);
    r.implement("subject.destroy", SubjectMessages::destroy, comesAndGoes);
    String roles = TEST + "rolesAreGivenAndTaken";
    r.implement("subject.add_to_roles", SubjectMessages::addRole, roles);
    r.implement("subject.remove_from_roles", SubjectMessages::removeRole, roles);
    r.implement("subject.get_permissions_name_label", SubjectMessages::permissions, roles);
    String switched = TEST + "itIsOffUntilItIsEnabled";
    for (String of : List.of("pool", "host")) {
      r.implement(of + ".enable_external_auth", c -> enable(c, of), switched);
      r.implement(of + ".disable_external_auth", c -> disable(c, of), switched);
    }
  }

  private static Value identifier(Call c) throws XenApiException, InterruptedException {
    return c.server()
        .subjects()
        .requireEnabled()
        .identifier(c.text(0))
        .map(Value::of)
        .orElseThrow(SubjectMessages::unknown);
  }

  private static XenApiException unknown() {
    return new XenApiException("SUBJECT_CANNOT_BE_RESOLVED");
  }

  private static Map<String, String> information(Call c, String identifier)
      throws XenApiException, InterruptedException {
    return c.server()
        .subjects()
        .requireEnabled()
        .information(identifier)
        .orElseThrow(SubjectMessages::unknown);
  }

  private static Value groups(Call c) throws XenApiException, InterruptedException {
    information(c, c.text(0));
    return Value.ofTexts(c.server().subjects().accounts().groups(c.text(0)));
  }

  /** What is told of it comes from the host, whatever the caller says. */
  private static Value create(Call c) throws XenApiException, InterruptedException {
    if (!(c.members(0).get("subject_identifier") instanceof Value.Text(String identifier))) {
      throw new XenApiException("INVALID_VALUE", "subject_identifier", "no text");
    }
    Schema schema = c.server().schema();
    Map<String, String> told = information(c, identifier);
    return c.server()
        .db()
        .write(tx -> {
          for (Row row : tx.rows("subject")) {
            if (schema.text(row, "subject_identifier").equals(identifier)) {
              throw new XenApiException("SUBJECT_ALREADY_EXISTS");
            }
          }
          Map<String, Value> fields = new LinkedHashMap<>();
          fields.put("subject_identifier", Value.of(identifier));
          fields.put("other_config", Value.ofTexts(told));
          fields.put("roles", Value.EMPTY_ARRAY);
          return Value.of(tx.create("subject", fields));
        });
  }

  private static Value destroy(Call c) throws XenApiException {
    c.server()
        .db()
        .change(tx -> {
          Schema.row(tx, "subject", c.text(0));
          tx.delete("subject", c.text(0));
        });
    c.server().sessions().closeOf(Optional.of(c.text(0)));
    return Value.VOID;
  }

  private static Value addRole(Call c) throws XenApiException {
    return change(
        c,
        roles -> {
          if (roles.contains(c.arg(1))) {
            throw new XenApiException("ROLE_ALREADY_EXISTS");
          }
          roles.add(c.arg(1));
        });
  }

  private static Value removeRole(Call c) throws XenApiException {
    return change(
        c,
        roles -> {
          if (!roles.remove(c.arg(1))) {
            throw new XenApiException("ROLE_NOT_FOUND");
          }
        });
  }

  private interface Change {
    void make(List<Value> roles) throws XenApiException;
  }

  /** Sessions that were opened with other roles end. */
  private static Value change(Call c, Change change) throws XenApiException {
    Schema schema = c.server().schema();
    String subject = c.text(0);
    c.server()
        .db()
        .change(tx -> {
          Row row = Schema.row(tx, "subject", subject);
          if (tx.row("role", c.text(1)).isEmpty()) {
            throw new XenApiException("ROLE_NOT_FOUND");
          }
          List<Value> roles = new ArrayList<>(((Value.Array) schema.get(row, "roles")).items());
          change.make(roles);
          schema.set(tx, "subject", subject, "roles", new Value.Array(roles));
        });
    c.server().sessions().closeOf(Optional.of(subject));
    return Value.VOID;
  }

  private static Value permissions(Call c) throws XenApiException {
    var now = c.server().db().snapshot();
    return c.server().subjects().permissions(now, Schema.row(now, "subject", c.text(0)));
  }

  private static Value enable(Call c, String of) throws XenApiException {
    Schema schema = c.server().schema();
    Row host = host(c, of);
    String service = c.text(2);
    String type = c.text(3);
    String already = schema.text(host, "external_auth_type");
    if (!already.isEmpty()) {
      throw of.equals("pool")
          ? new XenApiException("POOL_AUTH_ALREADY_ENABLED", host.ref())
          : new XenApiException(
              "AUTH_ALREADY_ENABLED", already, schema.text(host, "external_auth_service_name"));
    }
    if (!type.equals(Subjects.PAM)) {
      throw new XenApiException("AUTH_UNKNOWN_TYPE", type);
    }
    try {
      c.server().subjects().accounts().requireUsable();
    } catch (XenApiException e) {
      throw of.equals("pool")
          ? new XenApiException("POOL_AUTH_ENABLE_FAILED", host.ref(), String.join(" ", e.params()))
              .withCause(e)
          : e;
    }
    set(c, host, type, service);
    return Value.VOID;
  }

  /** Nothing is wrong with disabling what is off. */
  private static Value disable(Call c, String of) throws XenApiException {
    set(c, host(c, of), "", "");
    c.server().sessions().closeOf(Optional.empty());
    return Value.VOID;
  }

  private static void set(Call c, Row host, String type, String service) throws XenApiException {
    Schema schema = c.server().schema();
    c.server()
        .db()
        .change(tx -> {
          schema.set(tx, "host", host.ref(), "external_auth_type", Value.of(type));
          schema.set(tx, "host", host.ref(), "external_auth_service_name", Value.of(service));
          schema.set(tx, "host", host.ref(), "external_auth_configuration", Value.EMPTY_STRUCT);
        });
  }

  /** The host of the pool, or the one that is named. */
  private static Row host(Call c, String of) throws XenApiException {
    var now = c.server().db().snapshot();
    Row named = Schema.row(now, of, c.text(0));
    return of.equals("host")
        ? named
        : Schema.row(now, "host", c.server().schema().text(named, "master"));
  }
}
