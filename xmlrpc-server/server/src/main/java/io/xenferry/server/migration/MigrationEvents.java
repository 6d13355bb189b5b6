package io.xenferry.server.migration;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.xenferry.migration.Coordinator;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.MigrationStatus;
import io.xenferry.migration.state.Role;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import org.eclipse.jetty.http.HttpHeader;
import org.eclipse.jetty.io.Content;
import org.eclipse.jetty.server.Response;
import org.eclipse.jetty.util.Callback;

/**
 * Migrations as server-sent events, each of which holds a whole status: of one until it has ended,
 * or of all without end. Moves that wait in the queue are told of like those in the ledger.
 */
final class MigrationEvents {
  /** A slow reader loses the oldest events. */
  private static final int QUEUE = 64;

  private static final Duration KEEP_ALIVE = Duration.ofSeconds(15);

  private final Coordinator coordinator;
  private final MoveQueue waiting;
  private final Function<MigrationStatus, ObjectNode> json;

  /** Of those who follow; an empty entry says that the queue, or {@link #ended}, has changed. */
  private final Set<BlockingQueue<Optional<MigrationStatus>>> followers =
      ConcurrentHashMap.newKeySet();

  private volatile boolean ended;

  /** The side of a migration that is followed. */
  record One(MigrationId migration, Role role) {
    boolean is(MigrationStatus status) {
      return status.migration().equals(migration) && status.role() == role;
    }
  }

  MigrationEvents(
      Coordinator coordinator, MoveQueue waiting, Function<MigrationStatus, ObjectNode> json) {
    this.coordinator = coordinator;
    this.waiting = waiting;
    this.json = json;
  }

  /** Ends all following, which would else keep a server from stopping at once. */
  void end() {
    ended = true;
    followers.forEach(MigrationEvents::remind);
  }

  /** Whoever has something to read looks at the queue by that, and nothing has to make room. */
  private static void remind(BlockingQueue<Optional<MigrationStatus>> news) {
    if (news.isEmpty()) {
      news.offer(Optional.empty());
    }
  }

  private static void put(
      BlockingQueue<Optional<MigrationStatus>> news, Optional<MigrationStatus> entry) {
    while (!news.offer(entry)) {
      news.poll();
    }
  }

  /**
   * Sends the present state first, then each change.
   *
   * @param seen what the one that is followed was a moment ago, if it waited then
   */
  boolean follow(
      Response response, Callback callback, Optional<One> one, Optional<MoveQueue.Waiting> seen)
      throws Exception {
    BlockingQueue<Optional<MigrationStatus>> news = new ArrayBlockingQueue<>(QUEUE);
    AutoCloseable moves =
        coordinator.listen(status -> {
          if (one.isEmpty() || one.get().is(status)) {
            put(news, Optional.of(status));
          }
        });
    AutoCloseable changes = waiting.listen(() -> remind(news));
    response.getHeaders().put(HttpHeader.CONTENT_TYPE, "text/event-stream");
    response.getHeaders().put(HttpHeader.CACHE_CONTROL, "no-cache, no-store");
    try (moves;
        changes;
        OutputStream out = Content.Sink.asOutputStream(response)) {
      followers.add(news);
      out.flush(); // there may be nothing to tell for long
      Following following = new Following(out, one);
      boolean over = following.begin(seen);
      while (!over && !ended) {
        Optional<MigrationStatus> next = news.poll(KEEP_ALIVE.toSeconds(), TimeUnit.SECONDS);
        if (next == null) {
          out.write(":\n\n".getBytes(StandardCharsets.UTF_8));
          out.flush();
        } else {
          over = following.tell(next);
        }
      }
    } catch (IOException e) {
      callback.failed(e);
      return true;
    } finally {
      followers.remove(news);
    }
    callback.succeeded();
    return true;
  }

  /** What one reader has been told. */
  private final class Following {
    private final OutputStream out;
    private final Optional<One> one;
    private final Map<MigrationId, MoveQueue.Waiting> queued = new LinkedHashMap<>();

    Following(OutputStream out, Optional<One> one) {
      this.out = out;
      this.one = one;
    }

    /**
     * @return whether there is nothing more to tell
     */
    boolean begin(Optional<MoveQueue.Waiting> seen) throws IOException {
      boolean over = tellQueue();
      List<MigrationStatus> all =
          one.map(o -> coordinator.status(o.migration(), o.role()).stream().toList())
              .orElseGet(coordinator::statuses);
      for (MigrationStatus status : all) {
        over |= tell(status);
      }
      boolean gone = one.isPresent() && all.isEmpty() && queued.isEmpty();
      if (!over && gone && seen.isPresent()) {
        didNotBegin(seen.get());
      }
      return over || gone; // else it was forgotten after somebody had found it
    }

    boolean tell(Optional<MigrationStatus> news) throws IOException {
      boolean over = tellQueue();
      return news.isPresent() ? tell(news.get()) || over : over;
    }

    private boolean tell(MigrationStatus status) throws IOException {
      event(json.apply(status));
      return one.isPresent() && status.ended();
    }

    /** What has changed of those that wait; those that came to nothing there have ended. */
    private boolean tellQueue() throws IOException {
      Map<MigrationId, MoveQueue.Waiting> now = new LinkedHashMap<>();
      for (MoveQueue.Waiting waits : waiting.waiting()) {
        if (one.isEmpty() || one.get().migration().equals(waits.migration())) {
          now.put(waits.migration(), waits);
        }
      }
      for (MoveQueue.Waiting waits : now.values()) {
        if (!waits.equals(queued.put(waits.migration(), waits))) {
          event(MigrationJson.of(waits));
        }
      }
      boolean over = false;
      for (MoveQueue.Waiting before : List.copyOf(queued.values())) {
        if (!now.containsKey(before.migration())) {
          queued.remove(before.migration());
          if (coordinator.status(before.migration(), Role.SOURCE).isEmpty()) {
            didNotBegin(before);
            over = one.isPresent();
          }
        }
      }
      return over;
    }

    /** It waited, and neither waits nor is in the ledger: it came to nothing. */
    private void didNotBegin(MoveQueue.Waiting before) throws IOException {
      event(MigrationJson.of(before).put("phase", "did not begin").put("ended", true));
    }

    private void event(ObjectNode event) throws IOException {
      out.write(("data: " + event + "\n\n").getBytes(StandardCharsets.UTF_8));
      out.flush();
    }
  }
}
