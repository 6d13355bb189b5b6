package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.TreeMap;

/** Blobs: files kept with an object, made, fetched and sent; the audit log, fetched. */
final class BlobCommands {
  /** By the argument that names one, the classes of what keeps blobs; the first given counts. */
  private static final SequencedMap<String, String> KEEPERS =
      new TreeMap<>(
          Map.of(
              "vm-uuid", "VM",
              "pool-uuid", "pool",
              "sr-uuid", "SR",
              "host-uuid", "host",
              "network-uuid", "network"));

  /** How long the server may take to say why it has refused a client. */
  private static final double LAST_WORD_SECONDS = 1.0;

  private BlobCommands() {}

  static void register(Map<String, Command.Handler> commands) {
    commands.put("blob-create", BlobCommands::create);
    commands.put(
        "blob-get",
        run ->
            transfer(
                run,
                "Downloading a blob",
                blob(run),
                path -> run.client().get(run.arguments().need("filename"), path)));
    commands.put(
        "blob-put",
        run ->
            transfer(
                run,
                "Uploading a blob",
                blob(run),
                path -> run.client().put(run.arguments().need("filename"), path)));
    commands.put("audit-log-get", BlobCommands::auditLog);
  }

  private static String blob(Run run) throws XenApiException, CliException {
    return "/blob?ref=" + run.calls().byUuid("blob", run.arguments().need("uuid"));
  }

  private static void auditLog(Run run) throws XenApiException, CliException, IOException {
    String file = run.arguments().need("filename");
    Optional<String> since = run.arguments().get("since");
    transfer(
        run,
        "Downloading the audit log",
        "/audit_log?since=" + URLEncoder.encode(since.orElse(""), StandardCharsets.UTF_8),
        path -> run.client().get(file, path));
  }

  private static void create(Run run) throws XenApiException, CliException, IOException {
    String name = run.arguments().need("name");
    List<String> given =
        KEEPERS.keySet().stream().filter(key -> !run.arguments().get(key, "").isEmpty()).toList();
    if (given.size() != 1) {
      throw CliException.failed("One of these is needed: " + String.join(", ", KEEPERS.keySet()));
    }
    String keeper = Objects.requireNonNull(KEEPERS.get(given.getFirst()));
    String owner = run.calls().byUuid(keeper, run.arguments().need(given.getFirst()));
    String blob =
        run.calls()
            .text(
                keeper + ".create_new_blob",
                Value.of(owner),
                Value.of(name),
                Value.of(run.arguments().get("mime-type", "")),
                Value.of(run.arguments().flag("public")));
    run.printer().list(List.of(run.calls().uuid("blob", blob)));
  }

  /** What the client is told to do. */
  interface Transfer {
    boolean done(String path) throws CliException, IOException;
  }

  /** Within a task, which the server ends with the request: it knows better what went wrong. */
  static void transfer(Run run, String label, String address, Transfer transfer)
      throws XenApiException, CliException, IOException {
    Calls calls = run.calls();
    String task = calls.text("task.create", Value.of(label), Value.of(""));
    try {
      String path = address + "&session_id=" + calls.session() + "&task_id=" + task;
      if (transfer.done(path)) {
        Tasks.await(run, task, false);
        return;
      }
      if (hasEnded(calls, task)) {
        Tasks.await(run, task, false); // says why, if the server has refused it
      } else {
        calls.call("task.set_status", Value.of(task), Value.of("failure"));
      }
      throw new XenApiException("CLIENT_ERROR");
    } finally {
      calls.call("task.destroy", Value.of(task));
    }
  }

  /** A moment is enough: the server ends the task behind the answer that the client has had. */
  private static boolean hasEnded(Calls calls, String task) throws XenApiException {
    Value events =
        calls.call(
            "event.from", Value.ofTexts(List.of("task/" + task)), Value.of(""), Value.of(0.0));
    String token = Calls.field(Calls.members(events), "token");
    if (isPending(calls, task)) {
      calls.call(
          "event.from",
          Value.ofTexts(List.of("task/" + task)),
          Value.of(token),
          Value.of(LAST_WORD_SECONDS));
    }
    return !isPending(calls, task);
  }

  private static boolean isPending(Calls calls, String task) throws XenApiException {
    return Calls.field(calls.record("task", task), "status").equals("pending");
  }
}
