package io.xenferry.guest.linux;

import io.xenferry.guest.ledger.DiskBlock;
import io.xenferry.guest.ledger.LedgerEntry;
import io.xenferry.guest.ledger.LedgerEntry.Type;
import io.xenferry.guest.ledger.LedgerWriter;
import io.xenferry.guest.linux.Heartbeat.DiskState;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ThreadLocalRandom;
import java.util.zip.CRC32C;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Listens to the guest's heartbeat wherever it may run, and notes what it says is on its disks in a
 * ledger, outside of all hosts. Nothing of this is lost when heartbeats are: one tells of all
 * records up to the last one acknowledged.
 *
 * <p>Each connection to a hypervisor's process is one runner in the ledger. Which of two ran first
 * is told by the guest's own clock, that moves with it: the source's last heartbeat may be read
 * after the destination's first.
 */
public final class HeartbeatObserver implements AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(HeartbeatObserver.class);
  private static final int SOCKET_PATH_LIMIT = 100;
  private static final Duration LOOK = Duration.ofMillis(20);

  private final UUID vm;
  private final LedgerWriter ledger;
  private final List<Thread> listeners = new ArrayList<>();
  private volatile boolean closed;

  // Guarded by this.
  private final Map<Integer, Long> acknowledged = new HashMap<>();
  private final List<Runner> runners = new ArrayList<>();
  private final List<String> anomalies = new ArrayList<>();
  private final Set<String> boots = new HashSet<>();
  private long heartbeats;
  private long lastProgress;
  private long longestGap;
  private long errors;

  /** One process that ran the guest. */
  private static final class Runner {
    final long id = ThreadLocalRandom.current().nextLong(1, Long.MAX_VALUE);
    final String where;

    /** The guest's clock at its first and last heartbeat of its present boot. */
    String boot = "";

    long firstTime;
    long lastTime;

    /** This host's clock. */
    long started;

    long lastSeen;

    Runner(String where) {
      this.where = where;
    }
  }

  /**
   * @param vm as the guest knows it
   * @param ledgerFile made if missing
   */
  public HeartbeatObserver(UUID vm, Path ledgerFile) throws IOException {
    this.vm = vm;
    this.ledger = new LedgerWriter(ledgerFile);
  }

  /**
   * Listens at a socket whenever a guest serves it.
   *
   * @param socket the guest's second serial port
   */
  public void listen(Path socket) {
    listeners.add(
        Thread.ofVirtual().name("heartbeat " + socket).start(() -> listenForEver(socket)));
  }

  /** A socket's path may have 107 bytes at most; a link makes a longer one short. */
  private static Path reachable(Path socket) throws IOException {
    if (socket.toString().length() <= SOCKET_PATH_LIMIT) {
      return socket;
    }
    Path link = Files.createTempDirectory("xfh").resolve("g");
    Files.createSymbolicLink(link, socket.toAbsolutePath().getParent());
    return link.resolve(String.valueOf(socket.getFileName()));
  }

  private void listenForEver(Path wanted) {
    try {
      Path socket = reachable(wanted);
      try {
        listenAt(socket);
      } finally {
        if (!socket.equals(wanted)) {
          Path link = Objects.requireNonNull(socket.getParent());
          Files.deleteIfExists(link);
          Files.deleteIfExists(Objects.requireNonNull(link.getParent()));
        }
      }
    } catch (IOException e) {
      log.warn("nobody listens at {}", wanted, e);
    }
  }

  private void listenAt(Path socket) {
    while (!closed) {
      if (Files.exists(socket)) {
        try (SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX)) {
          channel.connect(UnixDomainSocketAddress.of(socket));
          readFrom(channel, socket.toString());
        } catch (IOException e) {
          // Not yet, or no longer.
          log.debug("{}", socket, e);
        }
      }
      try {
        Thread.sleep(LOOK);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        return;
      }
    }
  }

  private void readFrom(SocketChannel channel, String where) throws IOException {
    Runner runner = new Runner(where);
    try (BufferedReader lines =
        new BufferedReader(
            new InputStreamReader(Channels.newInputStream(channel), StandardCharsets.ISO_8859_1))) {
      for (String line = lines.readLine(); line != null && !closed; line = lines.readLine()) {
        var beat = Heartbeat.parse(line);
        if (beat.isPresent()) {
          take(runner, beat.get());
        }
      }
    } finally {
      ended(runner);
    }
  }

  private synchronized void take(Runner runner, Heartbeat beat) throws IOException {
    long now = System.nanoTime();
    if (runner.started == 0) {
      runner.started = now;
      runner.firstTime = beat.time();
      runner.boot = beat.boot();
      runners.add(runner);
      note(Type.START, 0, 0, 0, 0, runner, now, 0);
    } else if (!runner.boot.equals(beat.boot())) {
      runner.boot = beat.boot();
      runner.firstTime = beat.time();
    }
    heartbeats++;
    boots.add(beat.boot());
    runner.lastTime = beat.time();
    runner.lastSeen = logically(runner, beat, now);
    boolean progress = false;
    for (DiskState disk : beat.disks()) {
      progress |= learn(runner, disk);
    }
    if (progress) {
      if (lastProgress != 0) {
        longestGap = Math.max(longestGap, runner.lastSeen - lastProgress);
      }
      lastProgress = Math.max(lastProgress, runner.lastSeen);
    }
  }

  /** Not after the start of a runner that went on with the guest from a later time. */
  private long logically(Runner runner, Heartbeat beat, long now) {
    long when = now;
    for (Runner other : runners) {
      if (other != runner && other.boot.equals(beat.boot()) && other.started > runner.started) {
        if (beat.time() < other.firstTime) {
          when = Math.min(when, other.started - 1);
        } else {
          anomaly("the guest ran at " + runner.where + " while it ran at " + other.where);
        }
      }
    }
    return when;
  }

  private boolean learn(Runner runner, DiskState disk) throws IOException {
    long known = acknowledged.getOrDefault(disk.disk(), 0L);
    if (disk.acknowledged() < known && runner == runners.getLast()) {
      anomaly(
          "disk "
              + disk.disk()
              + ": the guest went back from record "
              + known
              + " to "
              + disk.acknowledged());
    }
    errors = Math.max(errors, disk.errors());
    for (long n = Math.max(known + 1, disk.first()); n <= disk.acknowledged(); n++) {
      DiskBlock record = RecordPlaces.content(vm, disk.disk(), n, disk.blocks());
      note(
          Type.WRITE,
          disk.disk(),
          DiskBlock.SIZE,
          record.number() * DiskBlock.SIZE,
          record.sequence(),
          runner,
          runner.lastSeen,
          checksum(record));
    }
    acknowledged.merge(disk.disk(), disk.acknowledged(), Math::max);
    return disk.acknowledged() > known;
  }

  private static int checksum(DiskBlock block) {
    ByteBuffer bytes = ByteBuffer.allocate(DiskBlock.SIZE).order(ByteOrder.LITTLE_ENDIAN);
    block.put(bytes);
    CRC32C crc = new CRC32C();
    crc.update(bytes.flip());
    return (int) crc.getValue();
  }

  private void anomaly(String what) {
    if (anomalies.size() < 20 && !anomalies.contains(what)) {
      anomalies.add(what);
    }
  }

  private synchronized void ended(Runner runner) throws IOException {
    if (runner.started != 0 && !closed) {
      note(Type.STOP, 0, 0, 0, 0, runner, runner.lastSeen, 0);
    }
  }

  private void note(
      Type type,
      int disk,
      int length,
      long offset,
      long sequence,
      Runner runner,
      long when,
      int checksum)
      throws IOException {
    ledger.append(
        new LedgerEntry(
            type,
            disk,
            length,
            offset,
            sequence,
            runner.id,
            when,
            LedgerEntry.wallNow(),
            checksum));
  }

  /** Heartbeats received so far. */
  public synchronized long heartbeats() {
    return heartbeats;
  }

  /** How often the guest has booted; moves leave this as it is. */
  public synchronized int boots() {
    return boots.size();
  }

  /** Records of a disk that are known to be on it, by the number of the last. */
  public synchronized long acknowledged(int disk) {
    return acknowledged.getOrDefault(disk, 0L);
  }

  /** Where the guest was last heard, the path of its socket; null before that. */
  public synchronized @Nullable String where() {
    return runners.stream()
        .max((a, b) -> Long.compare(a.lastSeen, b.lastSeen))
        .map(runner -> runner.where)
        .orElse(null);
  }

  /** The longest time in which no disk had a record acknowledged, as seen from outside. */
  public synchronized Duration longestGap() {
    return Duration.ofNanos(longestGap);
  }

  /** From here on. */
  public synchronized void forgetGaps() {
    longestGap = 0;
  }

  /** Writes that failed in the guest. */
  public synchronized long errors() {
    return errors;
  }

  /** What must never be: a guest in two places, or one that goes back in time. */
  public synchronized List<String> anomalies() {
    return List.copyOf(anomalies);
  }

  /** Everything noted so far is in the ledger's file. */
  public void sync() throws IOException {
    ledger.sync();
  }

  @Override
  public void close() {
    closed = true;
    listeners.forEach(Thread::interrupt);
    try {
      for (Thread listener : listeners) {
        listener.join();
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    ledger.close();
  }
}
