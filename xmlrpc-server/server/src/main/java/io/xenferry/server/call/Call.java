package io.xenferry.server.call;

import io.xenferry.model.MessageDef;
import io.xenferry.model.Ref;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.server.session.Session;
import io.xenferry.server.task.Task;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;

/**
 * A call that passed all checks. Arguments are those after the session, of their declared types,
 * defaults filled in.
 *
 * @param session absent for the few messages that take none
 * @param task absent for messages without an asynchronous form
 */
public record Call(
    MessageDef message,
    List<Value> args,
    Optional<Session> session,
    Optional<Task> task,
    Origin origin,
    ServerContext server) {

  public Value arg(int i) {
    return args.get(i);
  }

  public String text(int i) {
    return ((Value.Text) args.get(i)).text();
  }

  /** Strings, words, uuids and references alike. */
  public <T> Ref<T> ref(int i) {
    return Ref.of(text(i));
  }

  public boolean bool(int i) {
    return ((Value.Bool) args.get(i)).value();
  }

  public long integer(int i) {
    return ((Value.Int) args.get(i)).value();
  }

  public double real(int i) {
    return ((Value.Real) args.get(i)).value();
  }

  public Instant time(int i) {
    return ((Value.Time) args.get(i)).instant();
  }

  public List<String> texts(int i) {
    return ((Value.Array) args.get(i)).items().stream().map(v -> ((Value.Text) v).text()).toList();
  }

  /** A map of strings or references. */
  public Map<String, String> textMap(int i) {
    Map<String, String> map = new LinkedHashMap<>();
    ((Value.Struct) args.get(i)).members().forEach((k, v) -> map.put(k, ((Value.Text) v).text()));
    return map;
  }

  public SequencedMap<String, Value> members(int i) {
    return ((Value.Struct) args.get(i)).members();
  }

  /** The caller's session, where the message takes one. */
  public Session caller() throws XenApiException {
    return session.orElseThrow(() -> new XenApiException("SESSION_INVALID", ""));
  }
}
