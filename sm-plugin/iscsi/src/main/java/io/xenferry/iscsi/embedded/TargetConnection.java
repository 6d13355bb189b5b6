package io.xenferry.iscsi.embedded;

import io.xenferry.iscsi.net.EventLoop;
import io.xenferry.iscsi.net.PduChannel;
import io.xenferry.iscsi.pdu.Pdu;
import io.xenferry.iscsi.pdu.Pdu.Stage;
import io.xenferry.iscsi.pdu.ProtocolException;
import io.xenferry.iscsi.pdu.TextKeys;
import io.xenferry.iscsi.scsi.Sense;
import io.xenferry.iscsi.scsi.Status;
import java.io.IOException;
import java.net.InetAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One initiator's connection at the target: login, then tasks. A command takes a buffer from the
 * pool, collects its data by immediate data, unsolicited data and R2Ts, goes to the backend, and is
 * answered; the window (MaxCmdSN) bounds how many do so at once. Confined to the loop.
 */
final class TargetConnection implements PduChannel.Handler {
  private static final Logger log = LoggerFactory.getLogger(TargetConnection.class);

  private static final int MAX_TEXT = 8192;
  private static final int MAX_ATTENTIONS = 8;

  private final EmbeddedTargetService service;
  private final PduChannel channel;
  private final InetAddress from;
  private final TargetLogin login;
  private final long accepted = System.nanoTime();
  private boolean fullFeature;
  private @Nullable ServedTarget target;
  private @Nullable DiskCommands disk;

  private final SequenceNumbers numbers = new SequenceNumbers();
  private final Answers answers;
  private final BufferPool buffers;
  private int tsih;

  /** When the initiator was asked whether it lives, and has not said anything since. */
  private long asked;

  private int nextTtt = 1;
  private final Map<Integer, Task> tasks = new LinkedHashMap<>();

  /** The command whose data is being read; null, too, for one that is ignored. */
  private @Nullable Task arriving;

  private boolean placed;
  private final Discovery discovery;

  /** What the initiator must be told before its next commands (SAM-5 §5.14). */
  private final ArrayDeque<Sense> attentions = new ArrayDeque<>(List.of(Sense.POWER_ON));

  TargetConnection(
      EmbeddedTargetService service, EventLoop loop, SocketChannel socket, InetAddress from)
      throws IOException {
    this.service = service;
    this.from = from;
    this.discovery = new Discovery(service);
    this.buffers = service.pool().part(service.limits().connectionBuffers());
    this.login = new TargetLogin(service::find, from, service.limits().sessions());
    this.channel = new PduChannel(loop, socket, TargetLogin.MAX_SEGMENT, this);
    this.answers = new Answers(channel, buffers, login, this::sn, this::hasDescriptorSense);
  }

  private boolean hasDescriptorSense() {
    ServedTarget served = target;
    return served != null && served.modes.descriptorSense();
  }

  BufferPool buffers() {
    return buffers;
  }

  boolean isOf(Nexus whose, int itsTsih) {
    return tsih == itsTsih && nexus().equals(whose);
  }

  Nexus nexus() {
    return new Nexus(login.initiator, login.isid);
  }

  /** Tells the initiator at its next command; a reset makes up for what came before it. */
  void attend(Sense attention) {
    if (attention.isReset()) {
      attentions.clear();
    }
    if (!attentions.contains(attention) && attentions.size() < MAX_ATTENTIONS) {
      attentions.add(attention);
    }
  }

  @Nullable Sense takeAttention() {
    return attentions.poll();
  }

  /** Whether the peer has used up its patience; asks it whether it lives when it is time. */
  boolean isStuck(long now) {
    EmbeddedTargetService.Limits limits = service.limits();
    long silent = now - channel.lastReceived();
    boolean waiting =
        !channel.isPaused()
            && (channel.isWithinPdu() || tasks.values().stream().anyMatch(task -> !task.executing));
    if ((!fullFeature && now - accepted > limits.login().toNanos())
        || (channel.sending() && now - channel.lastSent() > limits.write().toNanos())
        || (waiting && silent > limits.data().toNanos())) {
      return true;
    }
    long idle = limits.idle().toNanos();
    if (!fullFeature || silent <= idle || channel.isPaused()) {
      asked = 0;
      return false;
    }
    if (asked == 0) {
      asked = now;
      if (target != null) {
        channel.send(new Pdu.NopIn(0, Pdu.NO_TAG, nextTtt++ & 0x7FFFFFFF, sn(false)));
      }
    }
    return now - asked > idle;
  }

  void drop(String why) {
    channel.close(why);
  }

  private Pdu.Sn sn(boolean answer) {
    return numbers.next(answer, tasks.size());
  }

  // ---- arrival

  @Override
  public @Nullable ByteBuffer place(Pdu pdu, int length) throws ProtocolException {
    if (!fullFeature) {
      if (!(pdu instanceof Pdu.LoginRequest) || length > TextKeys.MAX_BYTES) {
        throw new ProtocolException("data before login");
      }
      return null;
    }
    switch (pdu) {
      case Pdu.ScsiCommand command -> {
        if (!command.write()
            || !login.immediateData
            || length > command.length()
            || length > login.firstBurst) {
          throw new ProtocolException("immediate data that was not agreed on");
        }
        Task task = admit(command);
        arriving = task;
        placed = true;
        ByteBuffer buffer = task == null ? null : task.buffer;
        return task == null || task.refused != null || buffer == null
            ? null
            : buffer.slice(0, length);
      }
      case Pdu.DataOut out -> {
        Task task = tasks.get(out.itt());
        if (task == null) {
          return null;
        }
        checkDataOut(task, out, length);
        ByteBuffer buffer = task.buffer;
        return task.refused != null || task.aborted || buffer == null
            ? null
            : buffer.slice(out.offset(), length);
      }
      default -> {
        if (length > MAX_TEXT) {
          throw new ProtocolException("data segment of " + length + " bytes");
        }
        return null;
      }
    }
  }

  private static void checkDataOut(Task task, Pdu.DataOut out, int length)
      throws ProtocolException {
    if (task.executing
        || out.offset() != task.received
        || length > task.burstEnd - task.received
        || out.ttt() != task.ttt) {
      throw new ProtocolException("Data-Out that was not asked for");
    }
    if (out.dataSn() != task.dataSn && task.refused == null) {
      // Without error recovery the command fails (RFC 7143 section 7.9).
      refuse(task, Status.CHECK_CONDITION, Sense.INCORRECT_AMOUNT_OF_DATA);
    }
  }

  @Override
  public void received(Pdu pdu, ByteBuffer data) throws ProtocolException {
    if (!fullFeature) {
      if (!(pdu instanceof Pdu.LoginRequest request)) {
        throw new ProtocolException("no login");
      }
      login(request, data);
      return;
    }
    if (disk == null && pdu instanceof Pdu.ScsiCommand) {
      throw new ProtocolException("a SCSI command in a discovery session");
    }
    switch (pdu) {
      case Pdu.ScsiCommand command -> {
        Task task = placed ? arriving : admit(command);
        arriving = null;
        placed = false;
        if (task != null) {
          begin(task, data);
        }
      }
      case Pdu.DataOut out -> dataOut(out, data);
      case Pdu.NopOut nop -> nop(nop, data);
      case Pdu.TextRequest request -> text(request, data);
      case Pdu.TaskRequest request -> manage(request);
      case Pdu.LogoutRequest request -> {
        if (numbers.take(request.immediate(), request.cmdSn())) {
          channel.send(new Pdu.LogoutResponse(request.itt(), sn(true), 0));
          channel.close("logged out");
        }
      }
      case Pdu.Unknown unknown ->
          channel.send(
              new Pdu.Reject(Pdu.Reject.COMMAND_NOT_SUPPORTED, sn(true)),
              ByteBuffer.allocate(48),
              null);
      case Pdu.LoginRequest again -> throw new ProtocolException("a second login");
      case Pdu.Response response -> throw new ProtocolException("a target's PDU");
    }
  }

  // ---- login

  private void login(Pdu.LoginRequest request, ByteBuffer data) throws ProtocolException {
    numbers.begin(request.cmdSn());
    try {
      TargetLogin.Answer answer =
          login
              .request(request, data)
              .orElse(
                  new TargetLogin.Answer(
                      new TextKeys(), false, request.current(), request.current()));
      boolean done = answer.transit() && answer.next() == Stage.FULL_FEATURE;
      if (done) {
        enter();
        tsih = service.newTsih();
      }
      channel.send(
          new Pdu.LoginResponse(
              answer.transit(),
              false,
              answer.current(),
              answer.next(),
              request.isid(),
              tsih,
              request.itt(),
              sn(true),
              0),
          ByteBuffer.wrap(answer.keys().toBytes()),
          null);
      if (done) {
        channel.digests(login.headerDigest, login.dataDigest);
      }
    } catch (TargetLogin.Refused e) {
      log.info("login of {} from {} refused: {}", login.initiator, from, e.getMessage());
      channel.send(
          new Pdu.LoginResponse(
              false,
              false,
              request.current(),
              request.current(),
              request.isid(),
              0,
              request.itt(),
              numbers.refusal(),
              e.status));
      channel.close("login refused");
    }
  }

  private void enter() {
    fullFeature = true;
    ServedTarget served = login.target;
    if (served == null) {
      return;
    }
    // Session reinstatement (RFC 7143 section 6.3.5): the same initiator port ends its old session.
    for (TargetConnection other : List.copyOf(served.connections)) {
      if (other.login.isid == login.isid && other.login.initiator.equals(login.initiator)) {
        other.drop("the initiator logged in again");
      }
    }
    served.connections.add(this);
    target = served;
    disk = new DiskCommands(served, this, service);
  }

  // ---- tasks

  /** A new task; null for a command that must be ignored. */
  private @Nullable Task admit(Pdu.ScsiCommand command) throws ProtocolException {
    if (!numbers.take(command.immediate(), command.cmdSn())) {
      return null;
    }
    if (tasks.containsKey(command.itt()) || command.itt() == Pdu.NO_TAG) {
      throw new ProtocolException("a task tag twice");
    }
    if (tasks.size() >= 2 * SequenceNumbers.WINDOW) {
      throw new ProtocolException("too many immediate commands");
    }
    Task task = new Task(command);
    tasks.put(command.itt(), task);
    if (command.length() < 0 || command.length() > DiskCommands.MAX_ACCEPTED) {
      refuse(task, Status.CHECK_CONDITION, Sense.INVALID_FIELD_IN_CDB);
    } else if (command.length() > 0) {
      task.buffer = buffers.take(command.length());
      if (task.buffer == null) {
        refuse(task, Status.TASK_SET_FULL, new Sense(Sense.NO_SENSE, 0));
      }
    }
    return task;
  }

  private static void refuse(Task task, int status, Sense sense) {
    task.refused = sense;
    task.refusedStatus = status;
  }

  private void begin(Task task, ByteBuffer immediate) {
    int got = immediate.position() == 0 ? immediate.remaining() : immediate.position();
    task.received = got;
    Pdu.ScsiCommand command = task.command;
    if (command.write() && !command.last() && !login.initialR2t) {
      task.unsolicited = true;
      task.burstEnd = (int) Math.min(command.length() & 0xFFFFFFFFL, login.firstBurst);
      return;
    }
    proceed(task);
  }

  private void dataOut(Pdu.DataOut out, ByteBuffer data) throws ProtocolException {
    Task task = tasks.get(out.itt());
    if (task == null) {
      return;
    }
    int got = data.position() == 0 ? data.remaining() : data.position();
    if (got == 0) {
      checkDataOut(task, out, 0);
    }
    task.received += got;
    task.dataSn++;
    if (!out.last()) {
      return;
    }
    if (!task.unsolicited && task.received != task.burstEnd) {
      throw new ProtocolException("a Data-Out sequence that ends early");
    }
    task.unsolicited = false;
    task.dataSn = 0;
    task.ttt = Pdu.NO_TAG;
    proceed(task);
  }

  /** A sequence of data is over: ask for the next one, or go to work. */
  private void proceed(Task task) {
    if (task.aborted) {
      finish(task);
      return;
    }
    Sense refused = task.refused;
    if (refused != null) {
      answer(task, task.refusedStatus, refused, 0);
      return;
    }
    Pdu.ScsiCommand command = task.command;
    if (command.write() && task.received < command.length()) {
      int length = Math.min(command.length() - task.received, login.maxBurst);
      task.burstEnd = task.received + length;
      task.ttt = nextTtt++ & 0x7FFFFFFF;
      channel.send(
          new Pdu.R2t(
              command.lun(),
              command.itt(),
              task.ttt,
              sn(false),
              task.r2tSn++,
              task.received,
              length));
      return;
    }
    DiskCommands commands = disk;
    ServedTarget served = target;
    if (commands == null || served == null) {
      throw new IllegalStateException("a task without a target");
    }
    task.executing = true;
    served.executing.add(task);
    commands.execute(task);
  }

  /** The backend is done with the task, if it ever had it. */
  private void finish(Task task) {
    tasks.remove(task.command.itt(), task);
    ServedTarget served = target;
    if (served != null) {
      served.executing.remove(task);
    }
    task.quiet.complete(null);
  }

  /** Whether the answer is still wanted; if not the task ends here. */
  private boolean wanted(Task task) {
    finish(task);
    if (task.aborted || !channel.isOpen()) {
      task.giveBack(buffers);
      return false;
    }
    return true;
  }

  /** See {@link Answers#status}. */
  void answer(Task task, int status, Sense sense, int used) {
    if (wanted(task)) {
      answers.status(task, status, sense, used);
    }
  }

  /** See {@link Answers#data}. */
  void answerData(Task task, int full) {
    if (wanted(task)) {
      answers.data(task, full);
    }
  }

  // ---- the rest

  private void nop(Pdu.NopOut nop, ByteBuffer data) throws ProtocolException {
    if (numbers.take(nop.immediate(), nop.cmdSn()) && nop.itt() != Pdu.NO_TAG) {
      ByteBuffer echo = ByteBuffer.allocate(data.remaining()).put(data).flip();
      channel.send(new Pdu.NopIn(nop.lun(), nop.itt(), Pdu.NO_TAG, sn(true)), echo, null);
    }
  }

  private void text(Pdu.TextRequest request, ByteBuffer data) throws ProtocolException {
    if (!numbers.take(request.immediate(), request.cmdSn())) {
      return;
    }
    if (request.ttt() == Pdu.NO_TAG) {
      discovery.ask(TextKeys.parse(data), login.initiator, from, Optional.ofNullable(target));
    }
    byte[] piece = discovery.next(login.peerSegment);
    boolean last = discovery.isDone();
    channel.send(
        new Pdu.TextResponse(last, !last, 0, request.itt(), last ? Pdu.NO_TAG : 1, sn(true)),
        ByteBuffer.wrap(piece),
        null);
  }

  private void manage(Pdu.TaskRequest request) throws ProtocolException {
    if (!numbers.take(request.immediate(), request.cmdSn())) {
      return;
    }
    ServedTarget served = target;
    if (served == null) {
      throw new ProtocolException("task management in a discovery session");
    }
    TaskManagement.carryOut(request, served, this);
  }

  /** Answers a task management request. */
  void respond(Pdu.TaskRequest request, int response) {
    channel.send(new Pdu.TaskResponse(request.itt(), sn(true), response));
  }

  Optional<Task> task(int tag) {
    return Optional.ofNullable(tasks.get(tag));
  }

  boolean isBusy() {
    return !tasks.isEmpty();
  }

  /**
   * Ends all tasks but one without an answer.
   *
   * @return completes when the backend has none of them
   */
  CompletableFuture<Void> abortAll(@Nullable Task except) {
    return abort(tasks.values().stream().filter(t -> t != except).toList());
  }

  /** Ends tasks without an answer; completes when the backend has none of them. */
  CompletableFuture<Void> abort(List<Task> some) {
    List<CompletableFuture<Void>> quiet = new ArrayList<>();
    for (Task task : some) {
      task.aborted = true;
      if (!task.executing) {
        // Data that was asked for may still come, and is thrown away for want of a task.
        finish(task);
        giveBackSafely(task);
      }
      quiet.add(task.quiet);
    }
    return CompletableFuture.allOf(quiet.toArray(CompletableFuture[]::new));
  }

  /** A Data-Out may be half read into the buffer. */
  private void giveBackSafely(Task task) {
    channel.abandonDestination();
    task.giveBack(buffers);
  }

  @Override
  public void closed(IOException cause) {
    log.debug("connection of {} from {} ended: {}", login.initiator, from, cause.getMessage());
    abort(List.copyOf(tasks.values()));
    answers.closed();
    ServedTarget served = target;
    if (served != null && served.connections.remove(this)) {
      served.reservations.lost(nexus());
    }
    service.gone(this);
  }
}
