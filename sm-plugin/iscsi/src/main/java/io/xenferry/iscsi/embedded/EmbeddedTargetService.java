package io.xenferry.iscsi.embedded;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.block.FileBackend;
import io.xenferry.iscsi.IscsiUrl;
import io.xenferry.iscsi.net.Acceptor;
import io.xenferry.iscsi.net.EventLoop;
import io.xenferry.iscsi.target.Export;
import io.xenferry.iscsi.target.ExportJournal;
import io.xenferry.iscsi.target.TargetException;
import io.xenferry.iscsi.target.TargetException.Kind;
import io.xenferry.iscsi.target.TargetService;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.ReentrantLock;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The target service within this process: one portal, one event loop, any number of targets and
 * connections, each target a block backend. Targets come and go while it runs; they end with the
 * process, and the next service serves again what the journal says is open.
 */
public final class EmbeddedTargetService implements TargetService {
  private static final Logger log = LoggerFactory.getLogger(EmbeddedTargetService.class);
  private static final String PORT = "embedded.port";

  /**
   * How much all may have, and how long they may take.
   *
   * @param connections over all targets; more are closed at once
   * @param sessions of one target; more are refused at login
   * @param buffers bytes of command data over all connections; beyond it commands are answered with
   *     TASK SET FULL
   * @param connectionBuffers the same of one connection
   * @param login from the connection to full feature phase
   * @param write how long a peer may take nothing of what it asked for
   * @param data how long it may send nothing of what it announced
   * @param idle silence after which it is asked whether it lives, and has as long to answer
   * @param close how long requests in the backend may take to end when an export is closed
   */
  public record Limits(
      int connections,
      int sessions,
      long buffers,
      long connectionBuffers,
      Duration login,
      Duration write,
      Duration data,
      Duration idle,
      Duration close) {

    /** A window of commands with 1 MiB each for a connection, and four such at once. */
    public static Limits defaults() {
      return new Limits(
          256,
          64,
          256L << 20,
          64L << 20,
          Duration.ofSeconds(10),
          Duration.ofSeconds(60),
          Duration.ofSeconds(60),
          Duration.ofSeconds(30),
          Duration.ofSeconds(15));
    }
  }

  /**
   * @param state directory for what must survive a restart: the port
   * @param address of the portal
   * @param port 0 lets the system choose once
   */
  public record Settings(Path state, InetAddress address, int port, Limits limits) {

    public static Settings at(Path state, InetAddress address) {
      return new Settings(state, address, 0, Limits.defaults());
    }

    public Settings onPort(int chosen) {
      return new Settings(state, address, chosen, limits);
    }

    public Settings within(Limits others) {
      return new Settings(state, address, port, others);
    }
  }

  private final Settings settings;
  private final ExportJournal journal;
  private final EventLoop loop;
  private final Acceptor acceptor;
  private final BufferPool pool;
  private final ReentrantLock lock = new ReentrantLock();

  /** What is being served, also on its way out; changed under the lock only. */
  private final Map<String, ServedTarget> open = new ConcurrentSkipListMap<>();

  /** Confined to the loop. */
  private final Map<String, ServedTarget> served = new LinkedHashMap<>();

  private final Set<TargetConnection> connections = new LinkedHashSet<>();
  private int lastTsih;
  private volatile boolean closed;

  /** Starts the portal and serves what the journal says is open. */
  public EmbeddedTargetService(Settings settings, ExportJournal journal) throws TargetException {
    this.settings = settings;
    this.journal = journal;
    this.pool = new BufferPool(settings.limits().buffers());
    try {
      loop = new EventLoop("iscsi target");
    } catch (IOException e) {
      throw new TargetException(Kind.FAILED, "cannot start an event loop", e);
    }
    try {
      Files.createDirectories(settings.state());
      acceptor =
          new Acceptor(loop, new InetSocketAddress(settings.address(), port()), this::accepted);
      Files.writeString(settings.state().resolve(PORT), Integer.toString(acceptor.port()));
      for (Export export : journal.open()) {
        try {
          serve(export);
        } catch (TargetException e) {
          // One lost backing file must not keep the others from coming back.
          log.error("cannot serve {} again: {}", export.iqn(), e.getMessage());
        }
      }
      loop.execute(this::sweep);
    } catch (IOException | RuntimeException e) {
      loop.close();
      throw new TargetException(
          Kind.FAILED, "cannot serve on " + settings.address() + ": " + e.getMessage(), e);
    }
  }

  private int port() throws IOException {
    Path file = settings.state().resolve(PORT);
    if (settings.port() != 0 || !Files.exists(file)) {
      return settings.port();
    }
    try {
      return Integer.parseInt(Files.readString(file).strip());
    } catch (NumberFormatException e) {
      throw new IOException(file + " is damaged", e);
    }
  }

  // ---- on the loop

  /** Runs on the loop: now, if that is where we are. */
  void onTheLoop(Runnable task) {
    if (loop.inLoop()) {
      task.run();
    } else {
      loop.execute(task);
    }
  }

  BufferPool pool() {
    return pool;
  }

  Limits limits() {
    return settings.limits();
  }

  /** Bytes of command data that are in use; from any thread. */
  public long buffersInUse() throws TargetException {
    return onLoop(pool::used);
  }

  Optional<ServedTarget> find(String iqn) {
    return Optional.ofNullable(served.get(iqn));
  }

  Collection<ServedTarget> served() {
    return served.values();
  }

  int newTsih() {
    lastTsih = lastTsih % 0xFFFF + 1;
    return lastTsih;
  }

  void gone(TargetConnection connection) {
    connections.remove(connection);
  }

  String portal() {
    String host = settings.address().getHostAddress();
    return (host.contains(":") ? "[" + host + "]" : host) + ":" + acceptor.port();
  }

  private void accepted(SocketChannel socket) throws IOException {
    if (connections.size() >= settings.limits().connections()) {
      log.warn("more than {} connections", settings.limits().connections());
      socket.close();
      return;
    }
    InetAddress from = ((InetSocketAddress) socket.getRemoteAddress()).getAddress();
    connections.add(new TargetConnection(this, loop, socket, from));
  }

  private void sweep() {
    if (closed) {
      return;
    }
    long now = System.nanoTime();
    for (TargetConnection connection : List.copyOf(connections)) {
      if (connection.isStuck(now)) {
        connection.drop("too slow");
      }
    }
    loop.schedule(Duration.ofMillis(250), this::sweep);
  }

  // ---- from any thread

  private <T> T onLoop(Callable<T> task) throws TargetException {
    CompletableFuture<T> answer = new CompletableFuture<>();
    loop.execute(() -> {
      try {
        answer.complete(task.call());
      } catch (Exception e) {
        answer.completeExceptionally(e);
      }
    });
    return await(answer, "the target's loop");
  }

  private <T> T await(CompletableFuture<T> answer, String what) throws TargetException {
    try {
      return answer.get(settings.limits().close().toNanos(), TimeUnit.NANOSECONDS);
    } catch (TimeoutException e) {
      throw new TargetException(Kind.TIMEOUT, what + " does not end", e);
    } catch (ExecutionException e) {
      throw new TargetException(Kind.FAILED, what + ": " + e.getCause(), e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new TargetException(Kind.TIMEOUT, "interrupted", e);
    }
  }

  @Override
  public IscsiUrl open(Export export) throws TargetException {
    lock.lock();
    try {
      requireOpen();
      ServedTarget before = open.get(export.iqn());
      if (before != null) {
        if (before.closing) {
          throw new TargetException(Kind.EXISTS, export.iqn() + " could not be closed yet");
        }
        if (before.export.equals(export)) {
          return urlOf(export);
        }
        throw new TargetException(Kind.EXISTS, export.iqn() + " is open with other parameters");
      }
      export.requireDistinct(list());
      try {
        journal.opened(export);
      } catch (IOException e) {
        throw new TargetException(Kind.JOURNAL, "journal: " + e.getMessage(), e);
      }
      try {
        serve(export);
      } catch (TargetException e) {
        journalClosed(export.iqn());
        throw e;
      }
      return urlOf(export);
    } finally {
      lock.unlock();
    }
  }

  /** The same for a backend of this process; the export lives as long as this service. */
  public IscsiUrl open(Export export, BlockBackend backend) throws TargetException {
    return open(export.withBacking(new Export.Backing.Device(backend)));
  }

  private void serve(Export export) throws TargetException {
    ServedTarget target =
        switch (export.backing()) {
          case Export.Backing.Device device ->
              new ServedTarget(export, device.device(), false, loop::execute);
          case Export.Backing.File file -> {
            try {
              FileBackend.Mode mode =
                  export.readOnly() ? FileBackend.Mode.READ_ONLY : FileBackend.Mode.READ_WRITE;
              yield new ServedTarget(
                  export, FileBackend.open(file.path(), mode), true, loop::execute);
            } catch (BlockException e) {
              throw new TargetException(Kind.INVALID, e.getMessage() + "", e);
            }
          }
        };
    if (target.backend.size() < target.blockSize) {
      if (target.ownsBackend) {
        target.backend.close();
      }
      throw new TargetException(Kind.INVALID, target.backend.name() + " is empty");
    }
    open.put(export.iqn(), target);
    onLoop(() -> served.put(export.iqn(), target) == null);
  }

  private void requireOpen() throws TargetException {
    if (closed) {
      throw new TargetException(Kind.DOWN, "the target service is closed");
    }
  }

  private void journalClosed(String iqn) throws TargetException {
    try {
      journal.closed(iqn);
    } catch (IOException e) {
      throw new TargetException(Kind.JOURNAL, "journal: " + e.getMessage(), e);
    }
  }

  @Override
  public void close(String iqn) throws TargetException {
    lock.lock();
    try {
      requireOpen();
      journalClosed(iqn);
      end(iqn);
    } finally {
      lock.unlock();
    }
  }

  /** Nobody can log in any more, nobody is logged in, nothing is in the backend. */
  private void end(String iqn) throws TargetException {
    ServedTarget target = open.get(iqn);
    if (target == null) {
      return;
    }
    target.closing = true;
    CompletableFuture<Void> quiet =
        onLoop(() -> {
          served.remove(iqn, target);
          return target.evict("the target is being closed");
        });
    await(quiet, "requests of " + iqn);
    if (target.ownsBackend) {
      target.backend.close();
    }
    open.remove(iqn, target);
  }

  @Override
  public List<Export> list() {
    return open.values().stream().map(t -> t.export).toList();
  }

  @Override
  public Optional<IscsiUrl> url(String iqn) {
    lock.lock();
    try {
      return Optional.ofNullable(open.get(iqn)).map(t -> urlOf(t.export));
    } finally {
      lock.unlock();
    }
  }

  private IscsiUrl urlOf(Export export) {
    return new IscsiUrl(
        export.account(),
        settings.address().getHostAddress(),
        acceptor.port(),
        export.iqn(),
        export.lun());
  }

  @Override
  public boolean drained(String iqn) throws TargetException {
    return onLoop(() -> {
      ServedTarget target = served.get(iqn);
      return target == null || (target.connections.isEmpty() && target.executing.isEmpty());
    });
  }

  @Override
  public void close() {
    lock.lock();
    try {
      if (closed) {
        return;
      }
      for (String iqn : new ArrayList<>(open.keySet())) {
        try {
          end(iqn);
        } catch (TargetException e) {
          log.error("closing {}: {}", iqn, e.getMessage());
        }
      }
      closed = true;
      onLoop(() -> {
        acceptor.close();
        for (TargetConnection connection : List.copyOf(connections)) {
          connection.drop("the target ends");
        }
        return true;
      });
    } catch (TargetException e) {
      log.error("closing the target service: {}", e.getMessage());
    } finally {
      loop.close();
      lock.unlock();
    }
  }
}
