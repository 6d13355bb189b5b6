package io.xenferry.server.call;

import io.xenferry.model.DataModel;
import io.xenferry.model.HttpAction;
import io.xenferry.model.XenApiException;
import io.xenferry.server.session.Session;
import io.xenferry.server.session.Sessions;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.Optional;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Who may use the HTTP paths beside the calls: a session, or a user with a password. */
public final class HttpAccess {
  private static final Logger log = LoggerFactory.getLogger(HttpAccess.class);

  private final Sessions sessions;

  public HttpAccess(Sessions sessions) {
    this.sessions = sessions;
  }

  /** What came of asking. */
  public sealed interface Answer {}

  /**
   * Refused.
   *
   * @param status 401 or 403
   * @param session that may not do this, where there is one
   */
  public record Refused(int status, Optional<Session> session) implements Answer {}

  /** Whoever came over the Unix socket, which only the administrator can open. */
  public record Local() implements Answer {}

  /**
   * A session.
   *
   * @param temporary whether it was opened for this request, to be closed with it
   */
  public record Admitted(Session session, boolean temporary) implements Answer {}

  /**
   * @param action of the data model, for example {@code rrd_updates}
   * @param sessionId from the query or a cookie
   * @param authorization the header
   */
  public Answer admit(
      String action, Optional<String> sessionId, Optional<String> authorization, Origin origin) {
    if (origin.trusted()) {
      return new Local();
    }
    try {
      if (sessionId.isPresent()) {
        return judged(action, new Admitted(sessions.check(sessionId.get()), false));
      }
      Optional<Password> password = authorization.flatMap(HttpAccess::basic);
      if (password.isPresent()) {
        Session session =
            sessions.loginInPassing(
                password.get().user(), password.get().password(), origin.address());
        return judged(action, new Admitted(session, true));
      }
    } catch (XenApiException | IllegalArgumentException e) {
      log.debug("{} refused to {}", action, origin.address(), e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    return new Refused(401, Optional.empty());
  }

  /** What HTTP Basic carries. */
  public record Password(String user, String password) {}

  /**
   * A user and a password of an Authorization header, if it is HTTP Basic, in capitals or not.
   *
   * @throws IllegalArgumentException it is, and is not Base64
   */
  public static Optional<Password> basic(String authorization) {
    String[] scheme = authorization.strip().split(" +", 2);
    if (scheme.length < 2 || !scheme[0].equalsIgnoreCase("Basic")) {
      return Optional.empty();
    }
    String[] words =
        new String(Base64.getDecoder().decode(scheme[1]), StandardCharsets.UTF_8).split(":", 2);
    return words.length < 2 ? Optional.empty() : Optional.of(new Password(words[0], words[1]));
  }

  private Answer judged(String action, Admitted admitted) {
    HttpAction known =
        DataModel.httpActions().stream()
            .filter(a -> a.name().equals(action))
            .findFirst()
            .orElseThrow(() -> new IllegalArgumentException("no HTTP action " + action));
    Session session = admitted.session();
    if (session.superuser() || session.hasOneOf(known.roles())) {
      return admitted;
    }
    end(admitted);
    return new Refused(403, Optional.of(session));
  }

  /** Closes what was opened for one request only. */
  public void end(Answer answer) {
    if (answer instanceof Admitted(Session session, boolean temporary) && temporary) {
      try {
        sessions.close(session.ref());
      } catch (XenApiException e) {
        log.warn("the session of a request could not be closed", e);
      }
    }
  }
}
