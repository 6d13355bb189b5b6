package io.xenferry.iscsi.initiator;

import io.xenferry.block.BlockException;
import io.xenferry.block.BlockException.Kind;
import io.xenferry.block.LinkTimes;
import io.xenferry.iscsi.initiator.Command.Direction;
import io.xenferry.iscsi.net.EventLoop;
import io.xenferry.iscsi.net.PduChannel;
import io.xenferry.iscsi.pdu.Pdu;
import io.xenferry.iscsi.pdu.ProtocolException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;
import java.util.function.IntFunction;
import org.jspecify.annotations.Nullable;

/**
 * A session in full feature phase with one connection, for one logical unit or a look at all of
 * them (RFC 7143, error recovery level 0).
 *
 * <ol>
 *   <li>A submitted command waits for a slot and for the target's window, then leaves with as much
 *       immediate and unsolicited data as was agreed; the rest follows on R2Ts.
 *   <li>Its end is a response or a Data-In with status. BUSY, TASK SET FULL and harmless unit
 *       attentions mean that the target refused it without effect: only then it is sent again.
 *   <li>Anything that makes earlier writes doubtful (reset, lost connection, deadline, broken
 *       protocol) kills the session: all commands fail with that reason, now and later.
 * </ol>
 *
 * <p>Confined to its loop, except {@link #submit}, {@link #failure} and the methods that say so.
 */
final class Session implements PduChannel.Handler {
  private static final int MAX_UNIT_ATTENTIONS = 4;

  /** Some thousand bytes of data cost as much as a command does. */
  private static final int COMMAND_LOAD = 4096;

  private static final int MAX_SEGMENT_UNASKED = 64 * 1024;
  private static final ByteBuffer NOTHING = ByteBuffer.allocate(0);

  private final EventLoop loop;
  private final PduChannel channel;
  private final SessionParameters parameters;
  private final IscsiOptions options;
  private final long lun;
  private final String name;

  private final CommandTable commands;
  private final OwnRequests own = new OwnRequests();
  private final ArrayDeque<Command> waiting = new ArrayDeque<>();
  private int backingOff;
  private int cmdSn;
  private int maxCmdSn;
  private int expStatSn;

  private volatile @Nullable BlockException failure;
  private boolean closing;
  private boolean uncertain;
  private long lastProgress = System.nanoTime();
  private final CompletableFuture<Boolean> idle = new CompletableFuture<>();
  private final Liveness liveness;
  private final WirePing ping;

  /** What is under way, in bytes and a share for each command; written from any thread. */
  private final AtomicLong load = new AtomicLong();

  private Consumer<BlockException> whenDead = reason -> {};

  /** Must be called on the loop. */
  Session(
      EventLoop loop,
      SocketChannel socket,
      SessionParameters parameters,
      IscsiOptions options,
      long lun,
      String name)
      throws IOException {
    this.loop = loop;
    this.parameters = parameters;
    this.options = options;
    this.lun = lun;
    this.name = name;
    this.cmdSn = parameters.cmdSn();
    this.maxCmdSn = parameters.maxCmdSn();
    this.expStatSn = parameters.expStatSn();
    this.commands = new CommandTable(options.queueDepth());
    this.channel = new PduChannel(loop, socket, options.maxSegment(), this);
    this.channel.digests(parameters.digests(), parameters.digests());
    this.liveness = new Liveness(channel, options);
    this.ping = new WirePing(loop);
    loop.schedule(Duration.ofMillis(liveness.tickMillis()), this::tick);
  }

  // ---- commands

  /**
   * Sends a command to the session's unit; from any thread.
   *
   * @param data the session's from now on
   */
  CompletableFuture<Void> transfer(
      byte[] cdb, Direction direction, @Nullable ByteBuffer data, boolean changes, boolean whole) {
    return launch(new Command(this, lun, true, cdb, direction, data, changes, whole)).done;
  }

  /** The same, with the number of bytes that arrived or were sent. */
  CompletableFuture<Integer> submit(
      byte[] cdb, Direction direction, @Nullable ByteBuffer data, boolean changes, boolean whole) {
    return counted(new Command(this, lun, true, cdb, direction, data, changes, whole));
  }

  /** Asks any unit of the target for data, at most as much as the buffer takes; from any thread. */
  CompletableFuture<Integer> ask(long unit, byte[] cdb, ByteBuffer answer) {
    return counted(new Command(this, unit, false, cdb, Direction.READ, answer, false, false));
  }

  private CompletableFuture<Integer> counted(Command command) {
    CompletableFuture<Integer> bytes = new CompletableFuture<>();
    launch(command)
        .done
        .whenComplete((done, failure) -> {
          if (failure == null) {
            bytes.complete(command.moved());
          } else {
            bytes.completeExceptionally(failure);
          }
        });
    return bytes;
  }

  private Command launch(Command command) {
    load.addAndGet(COMMAND_LOAD + command.length);
    loop.execute(command);
    return command;
  }

  /** How much is under way, to be compared with other sessions'; from any thread. */
  long load() {
    return load.get();
  }

  /** What its writes have waited for on their way; from any thread. */
  LinkTimes linkTimes() {
    return ping.times();
  }

  private void succeed(Command command) {
    load.addAndGet(-(COMMAND_LOAD + command.length));
    command.done.complete(null);
  }

  private void fail(Command command, Throwable reason) {
    load.addAndGet(-(COMMAND_LOAD + command.length));
    command.done.completeExceptionally(reason);
  }

  void enqueue(Command command) {
    BlockException dead = failure;
    if (dead != null || closing) {
      fail(
          command,
          dead != null ? again(dead) : new BlockException(Kind.CLOSED, name + " is closed"));
      return;
    }
    command.submitted = System.nanoTime();
    waiting.add(command);
    pump();
  }

  private void pump() {
    while (failure == null && !commands.isFull() && !waiting.isEmpty() && maxCmdSn - cmdSn >= 0) {
      start(waiting.remove());
    }
  }

  private void start(Command command) {
    commands.add(command);
    command.received = 0;
    command.lastR2t = -1;
    command.ended = false;
    command.outstanding = 0;
    boolean write = command.direction == Direction.WRITE;
    int immediate = 0;
    int unsolicited = 0;
    if (write) {
      int first = Math.min(command.length, parameters.firstBurst());
      immediate = parameters.immediateData() ? Math.min(first, parameters.peerSegment()) : 0;
      unsolicited = parameters.initialR2t() ? immediate : first;
    }
    boolean asks = write && !probing && unsolicited == command.length && ping.isDue();
    command.started = System.nanoTime();
    Pdu header =
        new Pdu.ScsiCommand(
            false,
            unsolicited == immediate,
            command.direction == Direction.READ,
            write,
            command.lun,
            command.itt,
            command.length,
            cmdSn++,
            expStatSn,
            command.cdb);
    command.outstanding++;
    channel.send(header, immediate > 0 ? command.piece(0, immediate) : NOTHING, command);
    if (unsolicited > immediate) {
      sendData(command, Pdu.NO_TAG, immediate, unsolicited - immediate);
    }
    if (asks) {
      int tag = own.nextTag();
      ping.follows(command, tag);
      channel.send(new Pdu.NopOut(true, 0, tag, Pdu.NO_TAG, cmdSn, expStatSn));
    }
  }

  /** A sequence of Data-Out PDUs (RFC 7143 section 11.7). */
  private void sendData(Command command, int ttt, int offset, int length) {
    int end = offset + length;
    for (int dataSn = 0; offset < end; dataSn++) {
      int count = Math.min(end - offset, parameters.peerSegment());
      command.outstanding++;
      channel.send(
          new Pdu.DataOut(
              offset + count == end, command.lun, command.itt, ttt, expStatSn, dataSn, offset),
          command.piece(offset, count),
          command);
      offset += count;
    }
  }

  void pieceSent(Command command) {
    command.outstanding--;
    command.started = System.nanoTime();
    if (command.ended && command.outstanding == 0 && command.slot >= 0) {
      release(command);
    }
  }

  /** The command is over on the wire; its buffer is the caller's once all pieces have left. */
  private void end(Command command, @Nullable Throwable problem) {
    command.failure = problem;
    command.ended = true;
    ping.ended(command, problem == null);
    if (command.outstanding == 0) {
      release(command);
    }
  }

  private void release(Command command) {
    commands.remove(command);
    lastProgress = System.nanoTime();
    Throwable problem = command.failure;
    if (problem instanceof Refusal refusal) {
      later(command, refusal.refused);
    } else if (problem == null) {
      succeed(command);
    } else {
      fail(command, problem);
    }
    pump();
    checkIdle();
  }

  /** Carries a refusal through the command until its last piece of data has left. */
  private static final class Refusal extends Exception {
    private static final long serialVersionUID = 1L;
    final transient Outcome.Refused refused;

    Refusal(Outcome.Refused refused) {
      super(refused.why(), null, false, false);
      this.refused = refused;
    }
  }

  private void later(Command command, Outcome.Refused refused) {
    command.attempts++;
    if (command.firstRefusal == 0) {
      command.firstRefusal = System.nanoTime();
    }
    long since = System.nanoTime() - command.firstRefusal;
    boolean enough =
        refused.busy()
            ? since > options.busyPatience().toNanos()
            : command.attempts > MAX_UNIT_ATTENTIONS;
    if (enough || closing || failure != null) {
      fail(command, new BlockException(Kind.BUSY, name + ": " + refused.why()));
      return;
    }
    long delay = refused.busy() ? Math.min(5L << Math.min(command.attempts, 7), 500) : 0;
    backingOff++;
    loop.schedule(
        Duration.ofMillis(delay),
        () -> {
          backingOff--;
          enqueue(command);
          checkIdle();
        });
  }

  // ---- what arrives

  @Override
  public @Nullable ByteBuffer place(Pdu pdu, int length) throws ProtocolException {
    if (!(pdu instanceof Pdu.DataIn in)) {
      if (length > MAX_SEGMENT_UNASKED) {
        throw new ProtocolException("data segment of " + length + " bytes that nobody asked for");
      }
      return null;
    }
    if (failure != null) {
      return null;
    }
    Command command = commands.find(in.itt());
    if (command.direction != Direction.READ
        || in.offset() != command.received
        || length > command.length - command.received) {
      throw new ProtocolException("Data-In beyond or out of order");
    }
    return command.piece(in.offset(), length);
  }

  @Override
  public void received(Pdu pdu, ByteBuffer data) throws ProtocolException {
    if (pdu instanceof Pdu.Response response) {
      window(response.sn());
    }
    switch (pdu) {
      case Pdu.DataIn in -> dataIn(in, data);
      case Pdu.ScsiResponse response -> {
        status(response.sn());
        if (failure == null) {
          Command command = commands.find(response.itt());
          finish(command, response.response(), response.status(), data);
        }
      }
      case Pdu.R2t r2t -> {
        if (failure == null) {
          readyToTransfer(r2t);
        }
      }
      case Pdu.NopIn nop -> nop(nop, data);
      case Pdu.TaskResponse response -> {
        status(response.sn());
        own.answered(response.itt(), response.response());
      }
      case Pdu.LogoutResponse response -> {
        status(response.sn());
        own.answered(response.itt(), response.response());
      }
      case Pdu.Async async -> {
        status(async.sn());
        async(async, data);
      }
      case Pdu.Reject reject -> {
        status(reject.sn());
        die(Kind.PROTOCOL, "the target rejected a PDU, reason " + reject.reason());
      }
      case Pdu.TextResponse text -> throw unexpected(text);
      case Pdu.LoginResponse login -> throw unexpected(login);
      case Pdu.Request request -> throw unexpected(request);
    }
    pump();
  }

  private static ProtocolException unexpected(Pdu pdu) {
    return new ProtocolException("unexpected " + pdu.getClass().getSimpleName());
  }

  private void window(Pdu.Sn sn) {
    // RFC 7143 section 4.2.2.1: a window that would shrink below nothing is ignored.
    if (sn.maxCmdSn() - sn.expCmdSn() >= -1 && sn.maxCmdSn() - maxCmdSn > 0) {
      maxCmdSn = sn.maxCmdSn();
    }
  }

  private void status(Pdu.Sn sn) {
    expStatSn = sn.statSn() + 1;
  }

  private void dataIn(Pdu.DataIn in, ByteBuffer data) throws ProtocolException {
    if (in.hasStatus()) {
      status(in.sn());
    }
    if (failure != null) {
      return;
    }
    Command command = commands.find(in.itt());
    // A placed buffer was filled from zero; a Data-In with status alone has none.
    command.received += data.position();
    if (in.hasStatus()) {
      finish(command, 0, in.status(), NOTHING);
    }
  }

  private void readyToTransfer(Pdu.R2t r2t) throws ProtocolException {
    Command command = commands.find(r2t.itt());
    long end = (long) r2t.offset() + r2t.length();
    if (command.direction != Direction.WRITE
        || r2t.offset() < 0
        || r2t.length() <= 0
        || r2t.length() > parameters.maxBurst()
        || end > command.length
        || r2t.r2tSn() <= command.lastR2t) {
      throw new ProtocolException("R2T that does not fit its command");
    }
    command.lastR2t = r2t.r2tSn();
    sendData(command, r2t.ttt(), r2t.offset(), r2t.length());
  }

  private void nop(Pdu.NopIn nop, ByteBuffer data) {
    if (nop.itt() != Pdu.NO_TAG) {
      status(nop.sn());
      liveness.answered(nop.itt());
      ping.answered(nop.itt());
    }
    if (nop.ttt() != Pdu.NO_TAG) {
      ByteBuffer echo = ByteBuffer.allocate(data.remaining()).put(data).flip();
      channel.send(
          new Pdu.NopOut(true, nop.lun(), Pdu.NO_TAG, nop.ttt(), cmdSn, expStatSn), echo, null);
    }
  }

  private void async(Pdu.Async async, ByteBuffer data) {
    switch (async.event()) {
      case 0 -> {
        if (Outcome.sense(data).isReset()) {
          die(Kind.RESET, "the target reports a reset");
        }
      }
      case 1 -> die(Kind.LOST, "the target asks us to log out");
      case 2, 3 -> die(Kind.LOST, "the target drops the session");
      case 4 -> die(Kind.LOST, "the target wants to negotiate again");
      default -> {
        // Vendor specific: nothing to us.
      }
    }
  }

  private void finish(Command command, int response, int status, ByteBuffer data) {
    switch (Outcome.of(response, status, data, command, probing)) {
      case Outcome.Good good -> end(command, null);
      case Outcome.Failed failed -> end(command, failed.exception(name));
      case Outcome.Refused refused -> end(command, new Refusal(refused));
      case Outcome.Dead dead -> die(dead.kind(), dead.why());
    }
  }

  /** Until the disk has been looked at, a power-on attention is what every login gets. */
  private boolean probing = true;

  /** From now on a reset means that writes may be gone. Runs before any later command's answer. */
  void probed() {
    loop.execute(() -> probing = false);
  }

  private BlockException failed(Kind kind, String why) {
    return new BlockException(kind, name + ": " + why);
  }

  // ---- time

  private void tick() {
    if (!channel.isOpen()) {
      return;
    }
    loop.schedule(Duration.ofMillis(liveness.tickMillis()), this::tick);
    long now = System.nanoTime();
    if (liveness.heldUp(now) || failure != null) {
      return;
    }
    long patience = options.commandTimeout().toNanos();
    for (Command command : commands.all()) {
      // While its data waits for the socket, the socket's progress counts.
      long since = command.outstanding > 0 ? channel.lastSent() : command.started;
      if (now - since > patience) {
        die(Kind.TIMEOUT, "no answer within " + options.commandTimeout().toMillis() + " ms");
        return;
      }
    }
    Command head = waiting.peek();
    if (commands.isEmpty()
        && head != null
        && now - Math.max(head.submitted, lastProgress) > patience) {
      die(Kind.TIMEOUT, "the target opens no window for commands");
      return;
    }
    switch (liveness.look(now, own)) {
      case FINE -> {}
      case PING ->
          channel.send(new Pdu.NopOut(true, 0, liveness.pingTag(), Pdu.NO_TAG, cmdSn, expStatSn));
      case DEAD ->
          die(Kind.TIMEOUT, "no answer to a ping within " + options.keepAlive().toMillis() + " ms");
    }
  }

  // ---- the end

  @Override
  public void closed(IOException cause) {
    Kind kind = cause instanceof ProtocolException ? Kind.PROTOCOL : Kind.LOST;
    String why =
        cause instanceof ProtocolException
            ? "the target broke the protocol: " + cause.getMessage()
            : "connection lost: " + cause.getMessage();
    die(kind, why);
    own.fail(cause);
  }

  private void die(Kind kind, String why) {
    end(failed(kind, why));
  }

  private void end(BlockException why) {
    if (failure != null) {
      return;
    }
    // The target ends the connection after a logout: then it is not lost.
    boolean over = closing && commands.isEmpty();
    BlockException reason = over ? failed(Kind.CLOSED, "closed") : why;
    failure = reason;
    channel.abandonDestination();
    channel.dropUnsent();
    for (Command command : commands.removeAll()) {
      uncertain |= command.changes && !command.ended;
      fail(command, again(reason));
    }
    for (Command command = waiting.poll(); command != null; command = waiting.poll()) {
      fail(command, again(reason));
    }
    checkIdle();
    if (!closing) {
      whenDead.accept(reason);
    }
  }

  /** Every request gets an exception of its own. */
  private static BlockException again(BlockException reason) {
    return new BlockException(reason.kind(), String.valueOf(reason.getMessage()), reason);
  }

  /**
   * Lets it be known when the session dies other than by being closed, also if it has already; on
   * the loop. From any thread.
   */
  void onDeath(Consumer<BlockException> listener) {
    loop.execute(() -> {
      whenDead = listener;
      BlockException reason = failure;
      if (reason != null && !closing) {
        listener.accept(reason);
      }
    });
  }

  /** Ends it for a reason that another session found; from any thread. */
  void kill(BlockException reason) {
    if (failure == null) {
      loop.execute(() -> end(reason));
    }
  }

  /** Why the session is dead; null while it lives. From any thread. */
  @Nullable BlockException failure() {
    return failure;
  }

  /**
   * Refuses new commands; from any thread.
   *
   * @return completes when no command is in flight any more: true if all of them ended on the wire
   */
  CompletableFuture<Boolean> drain() {
    loop.execute(() -> {
      closing = true;
      BlockException closed = new BlockException(Kind.CLOSED, name + " is closed");
      for (Command c = waiting.poll(); c != null; c = waiting.poll()) {
        fail(c, again(closed));
      }
      checkIdle();
    });
    return idle;
  }

  private void checkIdle() {
    if (closing && (failure != null || (commands.isEmpty() && backingOff == 0))) {
      idle.complete(!uncertain);
    }
  }

  /** Fails what is in flight, because close has waited long enough; from any thread. */
  void giveUp() {
    loop.execute(() -> die(Kind.CLOSED, "closed with commands in flight"));
  }

  /** Whether a command that may change the medium has no known end. Only once drained. */
  CompletableFuture<Boolean> uncertain() {
    CompletableFuture<Boolean> answer = new CompletableFuture<>();
    loop.execute(() -> answer.complete(uncertain));
    return answer;
  }

  /** LOGICAL UNIT RESET; the target answers when no command for the unit is under way. */
  CompletableFuture<Integer> resetUnit() {
    return request(tag ->
        new Pdu.TaskRequest(
            true, Pdu.TaskRequest.LOGICAL_UNIT_RESET, lun, tag, Pdu.NO_TAG, cmdSn, expStatSn, 0));
  }

  CompletableFuture<Integer> logout() {
    return request(tag -> new Pdu.LogoutRequest(true, 0, tag, 0, cmdSn, expStatSn));
  }

  private CompletableFuture<Integer> request(IntFunction<Pdu> header) {
    CompletableFuture<Integer> answer = new CompletableFuture<>();
    loop.execute(() -> {
      if (channel.isOpen()) {
        int tag = own.nextTag();
        own.await(tag, answer);
        channel.send(header.apply(tag));
      } else {
        answer.completeExceptionally(new IOException("connection lost"));
      }
    });
    return answer;
  }

  void drop() {
    loop.execute(() -> {
      die(Kind.CLOSED, "closed");
      channel.close("closed by us");
    });
  }
}
