package io.xenferry.server.messages;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;
import io.xenferry.server.session.Session;
import io.xenferry.server.session.Users;
import java.io.IOException;
import java.util.Optional;

/** Logging in and out, and passwords. */
final class SessionMessages {
  private static final String TEST = "SessionTest";

  private SessionMessages() {}

  static void register(Registry r) {
    r.implement("session.login_with_password", SessionMessages::login, TEST + ".logsInAndOut");
    r.implement("session.logout", SessionMessages::logout, TEST + ".logsInAndOut");
    r.implement("session.local_logout", SessionMessages::logout, TEST + ".logsInAndOut");
    r.implement(
        "session.change_password", SessionMessages::changePassword, TEST + ".changesItsPassword");
    r.implement(
        "session.get_all_subject_identifiers",
        c ->
            Value.ofTexts(
                c.server().sessions().all().stream()
                    .flatMap(s -> subject(s).stream())
                    .distinct()
                    .toList()),
        TEST + ".rolesLimitWhatASessionMayDo");
    r.implement(
        "session.logout_subject_identifier",
        SessionMessages::logoutSubject,
        TEST + ".rolesLimitWhatASessionMayDo");
  }

  /** By what a user who is not root is known. */
  private static Optional<String> subject(Session s) {
    return switch (s.rights()) {
      case Session.Superuser u -> Optional.empty();
      case Session.Role r -> Optional.of(r.subject());
      case Session.Restricted r -> Optional.of(s.user());
    };
  }

  private static Value login(Call c) throws XenApiException, InterruptedException {
    String originator = c.text(3);
    Session s =
        c.origin().trusted()
            ? c.server().sessions().openRoot(originator)
            : c.server().sessions().login(c.text(0), c.text(1), originator);
    return Value.of(s.ref());
  }

  private static Value logout(Call c) throws XenApiException {
    c.server().sessions().close(c.caller().ref());
    return Value.VOID;
  }

  private static Value changePassword(Call c) throws XenApiException, InterruptedException {
    Session s = c.caller();
    String role =
        switch (s.rights()) {
          case Session.Superuser u -> Users.SUPERUSER;
          // The host's users have their passwords there.
          case Session.Role u when !u.external() -> u.names().getFirst();
          case Session.Role u -> throw notOurs(s);
          case Session.Restricted u -> throw notOurs(s);
        };
    int characters = c.text(1).codePointCount(0, c.text(1).length());
    if (characters < 6 || characters > 256) {
      throw new XenApiException("CHANGE_PASSWORD_REJECTED", "It must have 6 to 256 characters");
    }
    if (!s.superuser() && c.server().users().authenticate(s.user(), c.text(0)).isEmpty()) {
      throw new XenApiException("CHANGE_PASSWORD_REJECTED", "The old password is wrong");
    }
    try {
      c.server().users().put(s.user(), role, c.text(1));
    } catch (IOException e) {
      throw new XenApiException("INTERNAL_ERROR", "The password could not be stored").withCause(e);
    }
    return Value.VOID;
  }

  private static XenApiException notOurs(Session s) {
    return new XenApiException("USER_IS_NOT_LOCAL_SUPERUSER", s.user());
  }

  private static Value logoutSubject(Call c) throws XenApiException {
    for (Session s : c.server().sessions().all()) {
      if (subject(s).filter(c.text(0)::equals).isPresent()) {
        c.server().sessions().close(s.ref());
      }
    }
    return Value.VOID;
  }
}
