package io.xenferry.server.task;

import io.xenferry.model.Ref;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Transaction;
import io.xenferry.server.schema.Schema;
import io.xenferry.time.Threads;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeoutException;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Tasks: rows of the database, durable, and the live work behind those that are pending.
 *
 * <pre>
 * pending ──► success | failure | cancelled      the first completion wins, nothing changes after
 * </pre>
 */
public final class Tasks {
  /** Progress is told in steps of one per cent: a commit and an event each. */
  public static final double STEP = 0.01;

  private static final Logger LOG = LoggerFactory.getLogger(Tasks.class);

  /** How long completed tasks are kept, and how many of all; the published server's figures. */
  private static final Duration KEEP_COMPLETED = Duration.ofSeconds(3900);

  private static final int KEEP = 200;

  /** What the server itself notes of a task, out of clients' sight and reach. */
  private static final String NOTES = "server_notes";

  /** In the notes: the user whose task it is. */
  private static final String OWNER = "owner";

  /** How long a row is kept that a client made and then forgot. */
  private static final Duration KEEP_PENDING = Duration.ofHours(24);

  /** For work to say whether it ends; a commit, as a rule. */
  private static final Duration DECISION = Duration.ofSeconds(10);

  private final ObjectDatabase db;
  private final Schema schema;
  private final Clock clock;
  private final Threads threads;
  private final Map<String, LiveTask> live = new ConcurrentHashMap<>();

  public Tasks(ObjectDatabase db, Schema schema, Clock clock) {
    this(db, schema, clock, Threads.VIRTUAL);
  }

  /**
   * @param threads by which who cancels waits
   */
  public Tasks(ObjectDatabase db, Schema schema, Clock clock, Threads threads) {
    this.db = db;
    this.schema = schema;
    this.clock = clock;
    this.threads = threads;
  }

  /** Makes a task for work that starts now, and that cannot be cancelled until it says so. */
  public Task start(String label, String description, Ref<?> session, String user, Ref<?> parent)
      throws XenApiException {
    return start(label, description, session, user, parent, false);
  }

  /**
   * Makes a task for work that starts now.
   *
   * @param session to which it belongs; {@link Ref#nullRef} for the server's own work
   * @param parent of which it is a step; null reference for none
   * @param cancellable whether it can be cancelled from the first moment on
   */
  public Task start(
      String label,
      String description,
      Ref<?> session,
      String user,
      Ref<?> parent,
      boolean cancellable)
      throws XenApiException {
    collect();
    String ref = create(label, description, session, user, parent, cancellable);
    LiveTask task = new LiveTask(ref, cancellable);
    live.put(ref, task);
    return task;
  }

  /** A row that its client completes by itself: task.create. */
  public String create(String label, String description, Ref<?> session, String user, Ref<?> parent)
      throws XenApiException {
    return create(label, description, session, user, parent, false);
  }

  private String create(
      String label,
      String description,
      Ref<?> session,
      String user,
      Ref<?> parent,
      boolean cancellable)
      throws XenApiException {
    Instant now = clock.instant();
    return db.write(tx -> {
      Map<String, Value> f = new LinkedHashMap<>();
      f.put("name_label", Value.of(label));
      f.put("name_description", Value.of(description));
      f.put("created", Value.of(now));
      f.put("finished", Value.of(Instant.EPOCH));
      f.put("status", Value.of("pending"));
      f.put("progress", Value.of(0.0));
      f.put("type", Value.of("<none/>"));
      f.put("backtrace", Value.of("()"));
      f.put("allowed_operations", operations(cancellable));
      f.put("subtask_of", Value.of(parent));
      if (!user.isEmpty()) {
        f.put(NOTES, Value.ofTexts(Map.of(OWNER, user)));
      }
      if (!session.isNull() && tx.row("session", session.opaque()).isPresent()) {
        f.put("session", Value.of(session));
      }
      tx.rows("host").stream().findFirst().ifPresent(h -> f.put("resident_on", Value.of(h.ref())));
      return tx.create("task", f);
    });
  }

  /** Who made it, also before a restart; nobody for the server's own, or when it is gone. */
  public Optional<String> owner(String ref) {
    return db.snapshot()
        .row("task", ref)
        .flatMap(row -> Optional.ofNullable(schema.textMap(row, NOTES).get(OWNER)));
  }

  /**
   * Pending tasks that have a {@link Task#note} of that key: their references, and what it says.
   */
  public Map<String, String> pendingWith(String key) {
    Map<String, String> noted = allWith(key);
    noted.keySet().removeIf(ref -> !isPending(ref));
    return noted;
  }

  /** The same of all tasks that are still told of. */
  public Map<String, String> allWith(String key) {
    Map<String, String> noted = new LinkedHashMap<>();
    for (Row row : db.snapshot().rows("task")) {
      String value = schema.textMap(row, NOTES).get(key);
      if (value != null) {
        noted.put(row.ref(), value);
      }
    }
    return noted;
  }

  /** What a task shows, 0 to 1; 0 for none. */
  public double progress(String ref) {
    return db.snapshot()
        .row("task", ref)
        .map(row -> ((Value.Real) schema.get(row, "progress")).value())
        .orElse(0.0);
  }

  /** Whether somebody has asked for cancelling, also of a server before this one. */
  public boolean cancelAsked(String ref) {
    return db.snapshot()
        .row("task", ref)
        .map(row -> schema.textMap(row, "current_operations").containsValue("cancel"))
        .orElse(false);
  }

  /** Whether there is such a task, and it has not ended. */
  public boolean isPending(String ref) {
    return db.snapshot().row("task", ref).map(this::isPending).orElse(false);
  }

  /** Takes over the task of work that a former server began and this one goes on with. */
  public Optional<Task> adopt(String ref) {
    Row row = db.snapshot().row("task", ref).orElse(null);
    if (row == null || !isPending(row)) {
      return Optional.empty();
    }
    LiveTask task = new LiveTask(ref, schema.texts(row, "allowed_operations").contains("cancel"));
    task.shown = ((Value.Real) schema.get(row, "progress")).value();
    live.put(ref, task);
    return Optional.of(task);
  }

  /**
   * Works at a task that its client has made: it may be cancelled, and shows how far the work is.
   *
   * @return empty when it has ended, or somebody works at it
   */
  public Optional<Task> carryOut(String ref) {
    if (!isPending(ref)) {
      return Optional.empty();
    }
    LiveTask task = new LiveTask(ref, false);
    if (live.putIfAbsent(ref, task) != null) {
      return Optional.empty();
    }
    if (!isPending(ref)) { // by now
      live.remove(ref, task);
      return Optional.empty();
    }
    task.cancellable(true);
    task.write("progress", Value.of(0.0));
    return Optional.of(task);
  }

  /**
   * At start-up, after adopting: whatever is still pending has nobody behind it. Who has cancelled
   * one was told that it ends so.
   */
  public void failOrphans() throws XenApiException {
    for (Row r : List.copyOf(db.snapshot().rows("task"))) {
      if (isPending(r) && !live.containsKey(r.ref())) {
        fail(
            r.ref(),
            cancelAsked(r.ref())
                ? new XenApiException("TASK_CANCELLED", r.ref())
                : new XenApiException(
                    "INTERNAL_ERROR", "The server was restarted while this was under way"));
      }
    }
  }

  /**
   * @param result as a {@code <value>} element
   */
  public void succeed(String ref, String result) throws XenApiException {
    complete(ref, "success", result, List.of());
  }

  public void fail(String ref, XenApiException failure) throws XenApiException {
    List<String> words = new ArrayList<>();
    words.add(failure.code());
    words.addAll(failure.params());
    boolean cancelled = failure.code().equals("TASK_CANCELLED");
    complete(ref, cancelled ? "cancelled" : "failure", "", words);
  }

  private void complete(String ref, String status, String result, List<String> error)
      throws XenApiException {
    CompletableFuture<Void> recorded =
        db.insist(
            finish(
                ref,
                status,
                tx -> {
                  schema.set(tx, "task", ref, "result", Value.of(result));
                  schema.set(tx, "task", ref, "error_info", Value.ofTexts(error));
                }));
    // Not before: a row without work is cancelled by whoever asks.
    recorded = recorded.whenComplete((made, failure) -> live.remove(ref));
    if (recorded.isCompletedExceptionally()
        && recorded.exceptionNow() instanceof XenApiException e) {
      throw e;
    }
  }

  /**
   * What a client says about a task of its own, until that is completed; later it is ignored.
   *
   * @param field other than status
   */
  public void tell(String ref, String field, Value value) throws XenApiException {
    db.change(tx -> {
      if (isPending(Schema.row(tx, "task", ref))) {
        schema.set(tx, "task", ref, field, value);
      }
    });
  }

  /**
   * Completes a task as its client says, with the result or error that it told before; the second
   * time nothing happens.
   *
   * @param status as in the data model; one that is no end is only shown
   */
  public void end(String ref, String status) throws XenApiException {
    if (isOpen(status)) {
      tell(ref, "status", Value.of(status));
      return;
    }
    Schema.row(db.snapshot(), "task", ref);
    db.change(finish(ref, status, tx -> {}));
  }

  private static boolean isOpen(String status) {
    return status.equals("pending") || status.equals("cancelling");
  }

  private boolean isPending(Row row) {
    return isOpen(schema.text(row, "status"));
  }

  private ObjectDatabase.Change finish(String ref, String status, ObjectDatabase.Change more) {
    Instant now = clock.instant();
    return tx -> {
      Row row = tx.row("task", ref).orElse(null);
      if (row == null || !isPending(row)) {
        return;
      }
      schema.set(tx, "task", ref, "allowed_operations", operations(false));
      schema.set(tx, "task", ref, "finished", Value.of(now));
      schema.set(tx, "task", ref, "progress", Value.of(1.0));
      more.apply(tx);
      schema.set(tx, "task", ref, "status", Value.of(status));
      if (schema.textMap(row, "current_operations").containsValue("destroy")) {
        tx.delete("task", ref);
      }
    };
  }

  /** Removes the row of a call that answered by itself. */
  public void drop(String ref) throws XenApiException {
    live.remove(ref);
    db.change(tx -> {
      if (tx.row("task", ref).isPresent()) {
        tx.delete("task", ref);
      }
    });
  }

  /**
   * Asks for cancelling. The work notices, and may say that it goes on; a row without work is
   * cancelled here. Nothing happens to a task that has ended.
   *
   * @param by the task of the cancelling call
   * @throws XenApiException HANDLE_INVALID; OPERATION_NOT_ALLOWED when the work cannot be
   *     cancelled, or no longer
   */
  public void cancel(String ref, String by) throws XenApiException {
    LiveTask task = live.get(ref);
    boolean told = task == null || task.tellCancelled();
    boolean pending =
        db.write(tx -> {
          Row row = Schema.row(tx, "task", ref);
          if (!isPending(row)) {
            return false;
          }
          if (!told) {
            throw tooLate();
          }
          markOperation(tx, row, by, "cancel");
          return true;
        });
    if (!pending) {
      return;
    }
    if (task == null) {
      fail(ref, new XenApiException("TASK_CANCELLED", ref));
      return;
    }
    CompletableFuture<Void> decision = task.askAll();
    try {
      threads.await(decision, DECISION);
      task.endsSoon();
    } catch (ExecutionException e) {
      awaitRecord(goOn(task, by, e));
      throw tooLate();
    } catch (TimeoutException e) {
      LOG.info("task {} has not decided yet whether it ends", ref);
      decideLate(task, by, decision);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt(); // who cancels goes; the cancel stands
      decideLate(task, by, decision);
    }
  }

  /** Who cancels has been told that the cancel stands; should it not, the task must not say so. */
  private void decideLate(LiveTask task, String by, CompletableFuture<Void> decision) {
    var unused =
        decision.whenComplete((ends, refusal) ->
            threads.start("late decision of " + task.ref(), () -> decided(task, by, refusal)));
  }

  private void decided(LiveTask task, String by, @Nullable Throwable refusal) {
    if (refusal == null) {
      task.endsSoon();
    } else {
      var unused = goOn(task, by, refusal);
    }
  }

  /**
   * Takes the mark of a cancel back, by which a server after this one would go.
   *
   * @return completes when that is recorded
   */
  private CompletableFuture<Void> goOn(LiveTask task, String by, Throwable refusal) {
    LOG.info("task {} goes on", task.ref(), refusal);
    task.goOn();
    return db.insist(tx -> unmarkOperation(tx, task.ref(), by));
  }

  private void awaitRecord(CompletableFuture<Void> recorded) throws XenApiException {
    try {
      threads.await(recorded, DECISION);
    } catch (ExecutionException | TimeoutException e) {
      throw new XenApiException(
              "INTERNAL_ERROR", "The task goes on, which could not be recorded yet")
          .withCause(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private static XenApiException tooLate() {
    return new XenApiException(
        "OPERATION_NOT_ALLOWED", "The task cannot be cancelled, or no longer");
  }

  /** Removes a completed task; another goes once it completes. */
  public void destroy(String ref, String by) throws XenApiException {
    db.change(tx -> {
      Row row = Schema.row(tx, "task", ref);
      if (isPending(row)) {
        markOperation(tx, row, by, "destroy");
      } else {
        tx.delete("task", ref);
      }
    });
  }

  private void markOperation(Transaction tx, Row row, String by, String operation)
      throws XenApiException {
    Map<String, String> operations = schema.textMap(row, "current_operations");
    operations.put(by, operation);
    schema.set(tx, "task", row.ref(), "current_operations", Value.ofTexts(operations));
  }

  private void unmarkOperation(Transaction tx, String ref, String by) throws XenApiException {
    Optional<Row> row = tx.row("task", ref);
    if (row.isPresent()) {
      Map<String, String> operations = schema.textMap(row.get(), "current_operations");
      operations.remove(by);
      schema.set(tx, "task", ref, "current_operations", Value.ofTexts(operations));
    }
  }

  private static Value operations(boolean cancellable) {
    return Value.ofTexts(cancellable ? List.of("cancel") : List.of());
  }

  /**
   * Old completed tasks go, and older ones that nobody completes; beyond a number the oldest
   * completed ones go early.
   */
  private void collect() throws XenApiException {
    Instant forgotten = clock.instant().minus(KEEP_PENDING);
    for (Row r : List.copyOf(db.snapshot().rows("task"))) {
      if (isPending(r)
          && !live.containsKey(r.ref())
          && ((Value.Time) schema.get(r, "created")).instant().isBefore(forgotten)) {
        drop(r.ref());
      }
    }
    List<Row> completed =
        db.snapshot().rows("task").stream()
            .filter(r -> !isPending(r))
            .sorted(Comparator.comparing(this::finished))
            .toList();
    int total = db.snapshot().rows("task").size();
    Instant limit = clock.instant().minus(KEEP_COMPLETED);
    for (Row r : completed) {
      if (finished(r).isBefore(limit) || total >= KEEP) {
        drop(r.ref());
        total--;
      }
    }
  }

  private Instant finished(Row row) {
    return ((Value.Time) schema.get(row, "finished")).instant();
  }

  private final class LiveTask implements Task {
    private final String ref;
    private final List<Supplier<CompletableFuture<Void>>> onCancel = new ArrayList<>();
    private boolean cancellable;
    private boolean cancelled;
    private double shown;

    LiveTask(String ref, boolean cancellable) {
      this.ref = ref;
      this.cancellable = cancellable;
    }

    @Override
    public String ref() {
      return ref;
    }

    @Override
    public void progress(double fraction) {
      synchronized (this) {
        if (!(fraction >= shown + STEP)) {
          return;
        }
        shown = Math.min(fraction, 1);
        fraction = shown;
      }
      write("progress", Value.of(fraction));
    }

    @Override
    public void cancellable(boolean possible) {
      synchronized (this) {
        if (cancellable == possible) {
          return;
        }
        cancellable = possible;
      }
      write("allowed_operations", operations(possible));
    }

    /** What is only for show must not fail the work. */
    private void write(String field, Value value) {
      try {
        db.change(tx -> {
          Row row = tx.row("task", ref).orElse(null);
          if (row == null || !isPending(row)) {
            return;
          }
          if (field.equals("progress")
              && ((Value.Real) schema.get(row, field)).value() >= ((Value.Real) value).value()) {
            return;
          }
          schema.set(tx, "task", ref, field, value);
        });
      } catch (XenApiException e) {
        LOG.warn("task {}: {} not written", ref, field, e);
      }
    }

    @Override
    public void note(String key, String value) throws XenApiException {
      db.change(tx -> {
        Row row = Schema.row(tx, "task", ref);
        Map<String, String> notes = schema.textMap(row, NOTES);
        notes.put(key, value);
        schema.set(tx, "task", ref, NOTES, Value.ofTexts(notes));
      });
    }

    @Override
    public void tell(Map<String, String> more) {
      try {
        db.change(tx -> {
          Row row = tx.row("task", ref).orElse(null);
          if (row != null && isPending(row)) {
            Map<String, String> all = schema.textMap(row, "other_config");
            all.putAll(more);
            schema.set(tx, "task", ref, "other_config", Value.ofTexts(all));
          }
        });
      } catch (XenApiException e) {
        LOG.warn("task {}: what its work tells is not written", ref, e);
      }
    }

    @Override
    public synchronized boolean cancelled() {
      return cancelled;
    }

    @Override
    public void throwIfCancelled() throws XenApiException {
      if (cancelled()) {
        throw new XenApiException("TASK_CANCELLED", ref);
      }
    }

    @Override
    public void onCancel(Runnable action) {
      onCancelAsk(() -> {
        action.run();
        return CompletableFuture.completedFuture(null);
      });
    }

    @Override
    public void onCancelAsk(Supplier<CompletableFuture<Void>> decision) {
      synchronized (this) {
        if (!cancelled) {
          onCancel.add(decision);
          return;
        }
      }
      var unused = ask(decision); // who has cancelled was answered before there was this work
    }

    /** Whether the work now knows, or knew, that it is to end; it does not while it must go on. */
    private synchronized boolean tellCancelled() {
      cancelled |= cancellable;
      return cancelled;
    }

    /** Asks those that were there; whoever comes later is asked when it comes. */
    private CompletableFuture<Void> askAll() {
      List<Supplier<CompletableFuture<Void>>> all;
      synchronized (this) {
        all = List.copyOf(onCancel);
      }
      return CompletableFuture.allOf(
          all.stream().map(LiveTask::ask).toArray(CompletableFuture[]::new));
    }

    /** Work that cannot even be asked goes on. */
    private static CompletableFuture<Void> ask(Supplier<CompletableFuture<Void>> decision) {
      try {
        return decision.get();
      } catch (RuntimeException e) {
        return CompletableFuture.failedFuture(e);
      }
    }

    private synchronized void goOn() {
      cancelled = false;
    }

    private synchronized void endsSoon() {
      onCancel.clear();
    }
  }
}
