package io.xenferry.iscsi.initiator;

import java.io.IOException;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;

/**
 * Requests beside the commands, task management and logout, that wait for their answers; and the
 * tags of these and of pings, which no command has. Confined to the session's loop.
 */
final class OwnRequests {
  private static final int FIRST = 0x40000000;
  private static final int MASK = 0x0FFFFFFF;

  private final Map<Integer, CompletableFuture<Integer>> waiting = new HashMap<>();
  private int last = FIRST;

  int nextTag() {
    last = ((last + 1) & MASK) | FIRST;
    return last;
  }

  /** Lets a request wait for its answer. */
  void await(int tag, CompletableFuture<Integer> answer) {
    waiting.put(tag, answer);
  }

  /** An answer came; to something that nobody asked it is ignored. */
  void answered(int tag, int response) {
    CompletableFuture<Integer> answer = waiting.remove(tag);
    if (answer != null) {
      answer.complete(response);
    }
  }

  void fail(IOException cause) {
    waiting.values().forEach(answer -> answer.completeExceptionally(cause));
    waiting.clear();
  }
}
