package io.xenferry.server.call;

import io.xenferry.model.DataModel;
import io.xenferry.model.MessageDef;
import io.xenferry.model.Ref;
import io.xenferry.model.Type;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Row;
import io.xenferry.server.audit.Audit;
import io.xenferry.server.schema.Coercion;
import io.xenferry.server.session.Permission;
import io.xenferry.server.session.Session;
import io.xenferry.server.task.Task;
import io.xenferry.server.task.TaskWork;
import io.xenferry.spi.XenApi;
import io.xenferry.wire.Content;
import io.xenferry.wire.Dialect;
import io.xenferry.wire.XmlRpcCodec;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Carries out calls. The order of checks is that of published servers, since clients tell errors
 * apart by it:
 *
 * <ol>
 *   <li>strip {@code Async.}, find the message
 *   <li>the number of parameters
 *   <li>their types, unless the message is refused whatever they are
 *   <li>the session
 *   <li>the role
 *   <li>what a constructor's record must have
 *   <li>the message's code, or what follows from the fields, or a refusal
 * </ol>
 *
 * A message that may be asynchronous has a task while it runs, in the synchronous form, too. What
 * fails unexpectedly is logged and answered with INTERNAL_ERROR. Thread-safe.
 */
public final class Dispatcher implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(Dispatcher.class);

  private static final Set<String> NO_ASYNC =
      Set.of("session", "event", "task", "data_source", "blob");

  /** Their floats are time spans, for which NaN and the infinities mean something. */
  private static final Set<String> SPANS = Set.of("event.from");

  private final ServerContext server;
  private final Registry registry;
  private final Accessors accessors;
  private final XmlRpcCodec codec = new XmlRpcCodec(Dialect.XENAPI);
  private final ExecutorService asyncCalls =
      Executors.newThreadPerTaskExecutor(Thread.ofVirtual().name("async-", 0).factory());

  public Dispatcher(ServerContext server, Registry registry) {
    this.server = server;
    this.registry = registry;
    this.accessors = new Accessors(server.db(), server.schema());
  }

  /** Calls of the server's own parts, in process; they pass sessions and are checked as all are. */
  public XenApi inProcess(Origin origin) {
    return (method, params) -> call(method, params, origin).toValue();
  }

  public Registry registry() {
    return registry;
  }

  /**
   * @param params with the session first, where the message takes one
   */
  public Content call(String name, List<Value> params, Origin origin) throws XenApiException {
    try {
      return checked(name, params, origin);
    } catch (XenApiException e) {
      LOG.debug("{} from {}: {}", name, origin.address(), e.getMessage());
      throw e;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new XenApiException("INTERNAL_ERROR", "interrupted").withCause(e);
    } catch (RuntimeException e) {
      LOG.error("{} failed unexpectedly", name, e);
      throw new XenApiException("INTERNAL_ERROR", e.toString()).withCause(e);
    }
  }

  private Content checked(String name, List<Value> params, Origin origin)
      throws XenApiException, InterruptedException {
    if (name.equals("system.listMethods")) {
      return Content.of(Value.ofTexts(methodNames()));
    }
    if (name.startsWith("system.isAlive:")) {
      return Content.of(params.isEmpty() ? Value.VOID : params.getFirst());
    }
    boolean async = false;
    String plain = name;
    for (String prefix : List.of("Async.", "InternalAsync.")) {
      if (name.startsWith(prefix)) {
        async = true;
        plain = name.substring(prefix.length());
      }
    }
    // The old spelling, VM_start, is that of synchronous calls only.
    Optional<MessageDef> found =
        async && plain.indexOf('.') < 0 ? Optional.empty() : DataModel.message(plain);
    if (found.isEmpty()) {
      if (!params.isEmpty() && params.getFirst() instanceof Value.Text(String ref)) {
        server.sessions().check(ref);
      }
      throw new XenApiException("MESSAGE_METHOD_UNKNOWN", name);
    }
    MessageDef m = found.get();
    List<Value> given = countParameters(m, name, params);
    boolean refused = registry.entry(m) instanceof Registry.Refused;
    List<Value> args = refused ? given : coerce(m, given);
    Optional<Session> session = Optional.empty();
    if (m.session()) {
      Session s = server.sessions().check(sessionRef(params.getFirst()));
      try {
        requireRights(m, s, args);
        requireKeys(m, s, args);
      } catch (XenApiException e) {
        server.audit().call(m, args, s, origin.address()).ifPresent(Audit.Entry::denied);
        throw e;
      }
      session = Optional.of(s);
    }
    if (async && !canBeAsync(m)) {
      throw new XenApiException("Fault", "No async mode for this operation (rpc: " + plain + ")");
    }
    if (async) {
      return Content.of(Value.of(startAsync(name, m, args, session, origin)));
    }
    if (!canBeAsync(m)) {
      return run(new Call(m, args, session, Optional.empty(), origin, server));
    }
    Task task = newTask(m.wireName(), m, session);
    try {
      return run(new Call(m, args, session, Optional.of(task), origin, server));
    } finally {
      server.tasks().drop(task.ref());
    }
  }

  private static boolean canBeAsync(MessageDef m) {
    return m.async() && !NO_ASYNC.contains(m.className());
  }

  private Task newTask(String label, MessageDef m, Optional<Session> session)
      throws XenApiException {
    return server
        .tasks()
        .start(
            label,
            "",
            Ref.of(session.map(Session::ref).orElse("")),
            session.map(Session::user).orElse(""),
            Ref.nullRef(),
            registry.isCancellable(m));
  }

  private String startAsync(
      String name, MessageDef m, List<Value> args, Optional<Session> session, Origin origin)
      throws XenApiException {
    Task task = newTask(name, m, session);
    Call call = new Call(m, args, session, Optional.of(task), origin, server);
    try {
      asyncCalls.execute(() ->
          TaskWork.carryOut(
              server.tasks(), task, m.wireName(), () -> codec.valueElement(run(call))));
    } catch (RejectedExecutionException e) {
      server.tasks().fail(task.ref(), new XenApiException("HOST_OFFLINE", ""));
    }
    return task.ref();
  }

  /** Carries it out, and notes that unless it only reads. */
  private Content run(Call call) throws XenApiException, InterruptedException {
    Optional<Audit.Entry> entry =
        call.session()
            .flatMap(
                s -> server.audit().call(call.message(), call.args(), s, call.origin().address()));
    if (entry.isEmpty()) {
      return carryOut(call);
    }
    String failure = "INTERNAL_ERROR";
    boolean done = false;
    try {
      Content answer = carryOut(call);
      done = true;
      return answer;
    } catch (XenApiException e) {
      failure = e.code();
      throw e;
    } finally {
      if (done) {
        entry.get().done();
      } else {
        entry.get().failed(failure);
      }
    }
  }

  private Content carryOut(Call call) throws XenApiException, InterruptedException {
    if (call.message().kind() == MessageDef.Kind.CREATE
        && !(registry.entry(call.message()) instanceof Registry.Refused)) {
      Accessors.constructorFields(DataModel.classDef(call.message().className()), call.members(0));
    }
    try (var entered = registry.enter(call)) {
      return switch (registry.entry(call.message())) {
        case Registry.Implemented i -> i.handler().call(call);
        case Registry.Generic g -> accessors.call(call);
        case Registry.Refused r -> throw Registry.refusal(call, r);
      };
    }
  }

  /** Surplus parameters beyond the known ones are ignored where the message has defaults. */
  private static List<Value> countParameters(MessageDef m, String name, List<Value> params)
      throws XenApiException {
    int offset = m.session() ? 1 : 0;
    int required = m.required();
    int given = params.size() - offset;
    boolean defaults = required < m.params().size();
    if (given < required || (given > required && !defaults)) {
      throw new XenApiException(
          "MESSAGE_PARAMETER_COUNT_MISMATCH",
          name,
          Integer.toString(required),
          Integer.toString(given));
    }
    return params.subList(offset, Math.min(params.size(), offset + m.params().size()));
  }

  private static List<Value> coerce(MessageDef m, List<Value> given) throws XenApiException {
    List<Value> args = new ArrayList<>(m.params().size());
    for (int i = 0; i < m.params().size(); i++) {
      MessageDef.Param p = m.params().get(i);
      if (i < given.size()) {
        args.add(
            p.type() == Type.Basic.FLOAT && SPANS.contains(m.wireName())
                ? Coercion.real(p.name(), given.get(i))
                : Coercion.coerce(p.name(), p.type(), given.get(i)));
      } else {
        args.add(p.defaultValue().orElseThrow());
      }
    }
    return args;
  }

  private static String sessionRef(Value v) throws XenApiException {
    if (v instanceof Value.Text(String ref)) {
      return ref;
    }
    throw new XenApiException("SESSION_INVALID", "");
  }

  private static void requireRights(MessageDef m, Session s, List<Value> args)
      throws XenApiException {
    if (m.poolInternal()) {
      throw new XenApiException(
          "INTERNAL_ERROR",
          "Internal API \"" + m.wireName() + "\" call attempted with non-pool (external) session");
    }
    if (!s.mayCall(m, args)) {
      throw denied(Permission.of(m, args));
    }
  }

  /** A whole map is set by whoever may do so, but for keys that need more. */
  private void requireKeys(MessageDef m, Session s, List<Value> args) throws XenApiException {
    if (s.superuser()
        || s.roles().isEmpty()
        || !Permission.setsKeys(m)
        || !(args.getFirst() instanceof Value.Text(String ref))
        || !(args.get(1) instanceof Value.Struct after)) {
      return;
    }
    Optional<Row> row = server.db().snapshot().row(m.className(), ref);
    Value before = row.map(r -> r.get(m.field().orElseThrow())).orElse(Value.EMPTY_STRUCT);
    for (Permission needed :
        Permission.ofChange(m, ((Value.Struct) before).members(), after.members())) {
      if (!s.has(needed)) {
        throw denied(needed);
      }
    }
  }

  private static XenApiException denied(Permission permission) {
    return new XenApiException(
        "RBAC_PERMISSION_DENIED", permission.name(), "The session's role does not allow it");
  }

  private static List<String> methodNames() {
    Set<String> names = new TreeSet<>();
    for (var c : DataModel.classes()) {
      for (MessageDef m : c.messages()) {
        if (!m.hidden() && !m.lifecycle().removed()) {
          names.add(m.wireName());
          if (canBeAsync(m)) {
            names.add("Async." + m.wireName());
          }
        }
      }
    }
    names.add("system.listMethods");
    return List.copyOf(names);
  }

  /** Interrupts what runs asynchronously and waits a little for it. */
  @Override
  public void close() {
    asyncCalls.shutdownNow();
    try {
      if (!asyncCalls.awaitTermination(10, TimeUnit.SECONDS)) {
        LOG.warn("asynchronous calls are still running");
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
