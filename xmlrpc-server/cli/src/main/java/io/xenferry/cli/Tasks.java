package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * Calls that run as tasks: waits for them by their events, shows progress, removes them at the end.
 */
final class Tasks {
  /** How long one event.from waits, in seconds. */
  static final double WAIT_SECONDS = 30.0;

  private static final int BAR = 70;

  private Tasks() {}

  /** Makes an Async call and waits for its end; a failed task is thrown as its error. */
  static void run(Run run, String method, Value... params)
      throws XenApiException, CliException, IOException {
    boolean progress = run.arguments().flag("progress");
    String task = run.calls().text("Async." + method, params);
    try {
      await(run, task, progress);
    } finally {
      run.calls().call("task.destroy", Value.of(task));
    }
  }

  /** Waits for a task; one that has failed is thrown as its error. */
  static void await(Run run, String task, boolean progress) throws XenApiException, IOException {
    Calls calls = run.calls();
    String token = "";
    while (true) {
      Map<String, Value> record = calls.record("task", task);
      String status = Calls.field(record, "status");
      if (progress) {
        showProgress(run, record);
      }
      switch (status) {
        case "pending", "cancelling" -> {}
        case "success" -> {
          if (progress) {
            run.client().stderr("\n\n");
          }
          return;
        }
        case "cancelled" -> throw new XenApiException("TASK_CANCELLED", task);
        default -> throw failure(record);
      }
      Value events =
          calls.call(
              "event.from",
              Value.ofTexts(List.of("task/" + task)),
              Value.of(token),
              Value.of(WAIT_SECONDS));
      token = Calls.field(Calls.members(events), "token");
    }
  }

  /** What a task that has failed has failed with. */
  static XenApiException failure(Map<String, Value> record) {
    List<String> error = Calls.texts(record.getOrDefault("error_info", Value.VOID));
    return error.isEmpty()
        ? new XenApiException("INTERNAL_ERROR", "the task failed without saying why")
        : new XenApiException(error.getFirst(), error.subList(1, error.size()));
  }

  private static void showProgress(Run run, Map<String, Value> record) throws IOException {
    double done =
        record.getOrDefault("progress", Value.of(0.0)) instanceof Value.Real r
            ? Math.clamp(r.value(), 0.0, 1.0)
            : 0.0;
    int percent = (int) (done * 100);
    run.client()
        .stderr(
            String.format(
                Locale.ROOT,
                "\r %3d%% %c %s\n",
                percent,
                "|/-\\".charAt(percent % 4),
                "#".repeat((int) (done * BAR))));
  }
}
