package io.xenferry.iscsi.embedded;

import io.xenferry.iscsi.pdu.Pdu;
import io.xenferry.iscsi.pdu.Pdu.TaskRequest;
import io.xenferry.iscsi.pdu.Pdu.TaskResponse;
import io.xenferry.iscsi.scsi.Sense;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;

/**
 * The task management functions (RFC 7143 section 11.5, SAM-5 §7). One that ends commands is
 * answered when the backend has none of them any more. Confined to the loop, on which tasks end.
 */
final class TaskManagement {
  private TaskManagement() {}

  static void carryOut(TaskRequest request, ServedTarget target, TargetConnection from) {
    boolean ofTarget =
        request.function() == TaskRequest.TARGET_WARM_RESET
            || request.function() == TaskRequest.TARGET_COLD_RESET;
    if (!ofTarget && DiskCommands.unit(request.lun()) != target.export.lun()) {
      from.respond(request, TaskResponse.NO_SUCH_LUN);
      return;
    }
    switch (request.function()) {
      case TaskRequest.ABORT_TASK -> {
        Optional<Task> task = from.task(request.referencedTag());
        if (task.isPresent()) {
          complete(request, from, from.abort(List.of(task.get())));
        } else {
          from.respond(request, TaskResponse.NO_SUCH_TASK);
        }
      }
      case TaskRequest.ABORT_TASK_SET -> complete(request, from, from.abortAll(null));
      case TaskRequest.CLEAR_TASK_SET -> complete(request, from, clear(target, from));
      case TaskRequest.LOGICAL_UNIT_RESET, TaskRequest.TARGET_WARM_RESET ->
          complete(request, from, target.reset());
      case TaskRequest.TARGET_COLD_RESET ->
          complete(request, from, target.reset(), () -> target.evict("the target was reset"));
      default -> from.respond(request, TaskResponse.NOT_SUPPORTED);
    }
  }

  /** Ends the commands of all initiators. */
  private static CompletableFuture<Void> clear(ServedTarget target, TargetConnection from) {
    List<CompletableFuture<Void>> all = new ArrayList<>();
    for (TargetConnection connection : List.copyOf(target.connections)) {
      if (connection != from && connection.isBusy()) {
        connection.attend(Sense.COMMANDS_CLEARED);
      }
      all.add(connection.abortAll(null));
    }
    return CompletableFuture.allOf(all.toArray(CompletableFuture[]::new));
  }

  private static void complete(
      Pdu.TaskRequest request, TargetConnection from, CompletableFuture<Void> quiet) {
    complete(request, from, quiet, () -> {});
  }

  private static void complete(
      Pdu.TaskRequest request,
      TargetConnection from,
      CompletableFuture<Void> quiet,
      Runnable afterwards) {
    quiet.thenRun(() -> {
      from.respond(request, TaskResponse.COMPLETE);
      afterwards.run();
    });
  }
}
