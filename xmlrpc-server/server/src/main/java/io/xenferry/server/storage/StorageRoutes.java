package io.xenferry.server.storage;

import io.xenferry.iscsi.IscsiUrl;
import io.xenferry.iscsi.initiator.IscsiInitiator;
import io.xenferry.iscsi.initiator.IscsiOptions;
import io.xenferry.migration.gate.Gate;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.server.audit.Audit;
import io.xenferry.server.config.LimitsConfig;
import io.xenferry.server.http.Answers;
import io.xenferry.server.http.Router;
import io.xenferry.server.session.Session;
import io.xenferry.server.session.Sessions;
import io.xenferry.sr.SmapiException;
import io.xenferry.sr.SmapiV2;
import io.xenferry.wire.Content;
import io.xenferry.wire.Dialect;
import io.xenferry.wire.WireException;
import io.xenferry.wire.XmlRpcCall;
import io.xenferry.wire.XmlRpcCodec;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.Set;
import java.util.regex.Pattern;
import org.eclipse.jetty.http.HttpStatus;
import org.eclipse.jetty.server.Request;
import org.eclipse.jetty.server.Response;
import org.eclipse.jetty.util.Callback;

/**
 * SMAPIv2 over HTTP: POST /services/SM, XML-RPC whose only parameter is a struct of the named
 * arguments. The session is in the query, and must be one that may handle disks behind the records'
 * back. The gate is asked before volumes are deleted.
 */
public final class StorageRoutes {
  private static final Set<String> ROLES = Set.of("pool-admin", "pool-operator", "vm-power-admin");

  /** What changes nothing that a VM in doubt or a migration goes by; the mux guards the rest. */
  private static final Set<String> HARMLESS =
      Set.of(
          "VDI.create",
          "VDI.introduce",
          "VDI.stat",
          "VDI.copy",
          "VDI.similar_content",
          "VDI.get_by_name",
          "VDI.list_changed_blocks",
          "VDI.set_name_label",
          "VDI.set_name_description",
          "VDI.epoch_begin",
          "VDI.epoch_end");

  /** Methods that change nothing. */
  private static final Pattern ASKING =
      Pattern.compile(".*\\.(stat|scan|ls|query|attach_info|similar_content|get_.*|list.*)");

  private final HostStorage storage;
  private final Sessions sessions;
  private final Audit audit;
  private final LimitsConfig limits;
  private final SmapiV2 smapi;
  private final XmlRpcCodec codec = new XmlRpcCodec(Dialect.SMAPI);

  public StorageRoutes(HostStorage storage, Sessions sessions, LimitsConfig limits, Audit audit) {
    this.audit = audit;
    this.storage = storage;
    this.sessions = sessions;
    this.limits = limits;
    this.smapi = new SmapiV2(storage.mux(), StorageRoutes::open);
  }

  private static io.xenferry.block.BlockBackend open(String url) throws IOException {
    try {
      return IscsiInitiator.connect(IscsiUrl.parse(url), IscsiOptions.defaults());
    } catch (IllegalArgumentException e) {
      throw new IOException("no iSCSI URL", e);
    }
  }

  public void mount(Router router) {
    router.route("POST", "/services/SM", this::handle);
  }

  private boolean handle(Request request, Response response, Callback callback) throws Exception {
    if (!Request.getPathInContext(request).equals("/services/SM")) {
      Answers.error(response, callback, HttpStatus.NOT_FOUND_404);
      return true;
    }
    XmlRpcCall call;
    try {
      byte[] body = Answers.body(request, limits.rpcBodyBytes(), limits.requestDeadline());
      if (!mayCall(request)) {
        // As everywhere: whoever is nobody is asked who he is.
        boolean known = session(request).isPresent();
        Answers.error(
            response, callback, known ? HttpStatus.FORBIDDEN_403 : HttpStatus.UNAUTHORIZED_401);
        return true;
      }
      call = codec.readCall(body);
    } catch (Answers.TooLarge e) {
      Answers.error(response, callback, HttpStatus.PAYLOAD_TOO_LARGE_413);
      return true;
    } catch (WireException e) {
      Answers.error(response, callback, HttpStatus.BAD_REQUEST_400);
      return true;
    } catch (IOException e) {
      Answers.error(response, callback, Answers.unreadable(e));
      return true;
    }
    if (call.params().size() != 1
        || !(call.params().getFirst() instanceof Value.Struct arguments)) {
      Answers.error(response, callback, HttpStatus.BAD_REQUEST_400);
      return true;
    }
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    Value.Struct answer = answer(call.method(), arguments);
    note(request, call.method(), answer);
    codec.writeBare(out, Content.of(answer));
    Answers.bytes(response, callback, HttpStatus.OK_200, "text/xml", out.toByteArray());
    return true;
  }

  /** In the audit log, unless it only asks. */
  private void note(Request request, String method, Value.Struct answer) {
    if (ASKING.matcher(method).matches()) {
      return;
    }
    Optional<Session> session = session(request);
    if (session.isEmpty() && !Answers.origin(request).trusted()) {
      return; // has ended meanwhile
    }
    Optional<Audit.Entry> entry =
        audit.request(
            "post_services_sm", session, Map.of("name", method), Answers.origin(request).address());
    if (Value.of("Success").equals(answer.members().get("Status"))) {
      entry.ifPresent(Audit.Entry::done);
    } else {
      entry.ifPresent(e -> e.failed("SMAPI"));
    }
  }

  private Optional<Session> session(Request request) {
    String ref = Request.extractQueryParameters(request).getValue("session_id");
    try {
      return Answers.origin(request).trusted() || ref == null
          ? Optional.empty()
          : Optional.of(sessions.check(ref));
    } catch (XenApiException e) {
      return Optional.empty();
    }
  }

  private boolean mayCall(Request request) {
    if (Answers.origin(request).trusted()) {
      return true;
    }
    String ref = Request.extractQueryParameters(request).getValue("session_id");
    if (ref == null) {
      return false;
    }
    try {
      Session session = sessions.check(ref);
      return session.superuser() || session.hasOneOf(ROLES);
    } catch (XenApiException e) {
      return false;
    }
  }

  private Value.Struct answer(String method, Value.Struct arguments) {
    List<Gate.Permit> permits = List.of();
    try {
      Optional<String> sr = text(arguments, "sr");
      if (sr.isPresent()) {
        storage.typeOf(sr.get()).ifPresent(type -> smapi.learnType(sr.get(), type));
        if (method.equals("SR.destroy")) {
          permits = storage.permits(sr.get(), Optional.empty());
        } else if (method.equals("DP.destroy2")
            || method.startsWith("VDI.") && !HARMLESS.contains(method)) {
          permits = storage.permits(sr.get(), Optional.of(volume(method, arguments)));
        }
      }
      Optional<String> datapath = text(arguments, "dp");
      if (datapath.isPresent() && !method.equals("DP.attach_info")) {
        storage.requireForeign(datapath.get());
      }
      return smapi.respond(method, arguments);
    } catch (XenApiException e) {
      SequencedMap<String, Value> failure = new LinkedHashMap<>();
      failure.put("Status", Value.of("Failure"));
      failure.put("Value", SmapiException.backend(e.code(), e.params()).toValue());
      return new Value.Struct(failure);
    } finally {
      permits.forEach(Gate.Permit::close);
    }
  }

  /** The VDI that a call is about. */
  private static String volume(String method, Value.Struct arguments) {
    Optional<String> vdi =
        switch (method) {
          case "VDI.snapshot", "VDI.clone" ->
              arguments.members().get("vdi_info") instanceof Value.Struct info
                  ? text(info, "vdi")
                  : Optional.empty();
          case "VDI.revert" ->
              arguments.members().get("snapshot_info") instanceof Value.Struct snapshot
                  ? text(snapshot, "snapshot_of")
                  : Optional.empty();
          default -> text(arguments, "vdi");
        };
    return vdi.orElse("");
  }

  private static Optional<String> text(Value.Struct arguments, String name) {
    return arguments.members().get(name) instanceof Value.Text(String text)
        ? Optional.of(text)
        : Optional.empty();
  }
}
