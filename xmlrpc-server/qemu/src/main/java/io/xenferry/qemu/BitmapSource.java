package io.xenferry.qemu;

import com.fasterxml.jackson.databind.JsonNode;
import io.xenferry.block.BlockBackend;
import io.xenferry.block.Range;
import io.xenferry.copy.SourceDisk;
import io.xenferry.nbd.NbdClient;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A guest's disk, pass by pass, with the guest's own dirty bitmaps.
 *
 * <p>One bitmap notes writes from before the first pass on. A later pass, in one transaction, adds
 * the next bitmap and disables this one, which then is fixed: it is exported with the disk, its
 * ranges are read over NBD, and it is removed when the pass is done. A pass that is given back
 * merges it into the one that notes now. The first pass is what is allocated; given back, it comes
 * again.
 *
 * <p>Everything happens on one thread; futures complete there. The names of its bitmaps and exports
 * are its own: one that is given up late, because the guest answered slowly, leaves those of the
 * next copy alone.
 *
 * <p>The bitmaps live as long as the guest's process. A copy that has a name has it in theirs, so
 * that a later server knows them again: exactly one of them notes writes at any instant from before
 * the first pass on, and those that are disabled are of a pass that was under way.
 */
final class BitmapSource implements SourceDisk {
  private static final Logger log = LoggerFactory.getLogger(BitmapSource.class);

  /** As the disk's clusters in QEMU; finer ones cost memory, coarser ones copy more. */
  static final int GRANULARITY = 64 << 10;

  private static final SecureRandom RANDOM = new SecureRandom();

  /** The source whose thread this is. */
  private static final ThreadLocal<BitmapSource> RUNNING = new ThreadLocal<>();

  private final Monitor monitor;
  private final NbdExports exports;
  private final String name;
  private final String node;
  private final long size;
  private final Mirrors mirrors;
  private final ExecutorService thread;
  private final String prefix;

  /** Set before the first pass. */
  private volatile int layers;

  // Owned by the thread.
  private int number;
  private boolean first = true;
  private boolean closed;
  private Optional<BitmapPass> current = Optional.empty();
  private Optional<BlockMirror> mirror = Optional.empty();

  /** Mirrors of the disk. */
  interface Mirrors {
    BlockMirror start(BlockBackend sink, Duration patience)
        throws HypervisorException, InterruptedException;

    /** Removes what an earlier server has left of one. */
    void clear() throws HypervisorException, InterruptedException;
  }

  private BitmapSource(
      Monitor monitor,
      NbdExports exports,
      String name,
      String node,
      long size,
      Mirrors mirrors,
      String prefix) {
    this.monitor = monitor;
    this.exports = exports;
    this.name = name;
    this.node = node;
    this.size = size;
    this.mirrors = mirrors;
    this.prefix = prefix;
    this.thread =
        Executors.newSingleThreadExecutor(Thread.ofVirtual().name("source " + name).factory());
  }

  /** Clears away what an earlier server left on the node, and begins to note writes. */
  static BitmapSource open(
      Monitor monitor, NbdExports exports, String guest, String node, Mirrors mirrors)
      throws HypervisorException, InterruptedException {
    String copy = HexFormat.of().toHexDigits(RANDOM.nextInt());
    return open(monitor, exports, guest, node, mirrors, copy);
  }

  /** The same for a copy that a later server may {@link #takeUp}. */
  static BitmapSource open(
      Monitor monitor, NbdExports exports, String guest, String node, Mirrors mirrors, String copy)
      throws HypervisorException, InterruptedException {
    mirrors.clear();
    clear(monitor, exports, node, NbdExports.PREFIX);
    BitmapSource source =
        new BitmapSource(
            monitor,
            exports,
            guest + "/" + node,
            node,
            size(monitor, node),
            mirrors,
            NbdExports.PREFIX + copy);
    monitor.execute("block-dirty-bitmap-add", source.addArguments(0));
    return source;
  }

  /**
   * Goes on with the bitmaps of a copy that an earlier server has begun: what the pass had that was
   * under way is noted as well again.
   *
   * @return empty unless writes have been noted throughout
   */
  static Optional<BitmapSource> takeUp(
      Monitor monitor, NbdExports exports, String guest, String node, Mirrors mirrors, String copy)
      throws HypervisorException, InterruptedException {
    mirrors.clear();
    exports.removeAll(node, NbdExports.PREFIX);
    String prefix = NbdExports.PREFIX + copy;
    List<Integer> noting = new ArrayList<>();
    List<Integer> fixed = new ArrayList<>();
    for (JsonNode bitmap : find(monitor, node).path("dirty-bitmaps")) {
      String found = bitmap.path("name").asText();
      if (!found.startsWith(prefix + "-b")) {
        continue;
      }
      if (bitmap.path("inconsistent").asBoolean()) {
        return Optional.empty();
      }
      int number = Integer.parseInt(found.substring(prefix.length() + 2));
      (bitmap.path("recording").asBoolean() ? noting : fixed).add(number);
    }
    if (noting.size() != 1) {
      return Optional.empty();
    }
    BitmapSource source =
        new BitmapSource(
            monitor, exports, guest + "/" + node, node, size(monitor, node), mirrors, prefix);
    source.first = false;
    source.number = noting.getFirst();
    for (int disabled : fixed) {
      source.giveBack(disabled);
    }
    return Optional.of(source);
  }

  /** Bytes of a node. */
  static long size(Monitor monitor, String node) throws HypervisorException, InterruptedException {
    return find(monitor, node).path("image").path("virtual-size").asLong();
  }

  /** Removes the exports and bitmaps of the node whose names begin so. */
  private static void clear(Monitor monitor, NbdExports exports, String node, String prefix)
      throws HypervisorException, InterruptedException {
    exports.removeAll(node, prefix);
    for (JsonNode bitmap : find(monitor, node).path("dirty-bitmaps")) {
      String old = bitmap.path("name").asText();
      if (old.startsWith(prefix)) {
        monitor.execute("block-dirty-bitmap-remove", Map.of("node", node, "name", old));
      }
    }
  }

  private static JsonNode find(Monitor monitor, String node)
      throws HypervisorException, InterruptedException {
    for (JsonNode candidate : monitor.execute("query-named-block-nodes", Map.of("flat", true))) {
      if (candidate.path("node-name").asText().equals(node)) {
        return candidate;
      }
    }
    throw new HypervisorException(Kind.REFUSED, "the guest has no block node " + node);
  }

  private String bitmap(int number) {
    return prefix + "-b" + number;
  }

  private Map<String, Object> addArguments(int number) {
    return Map.of(
        "node", node, "name", bitmap(number), "granularity", GRANULARITY, "persistent", false);
  }

  private Map<String, Object> naming(int number) {
    return Map.of("node", node, "name", bitmap(number));
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public long size() {
    return size;
  }

  private <T> CompletableFuture<T> run(Callable<T> task) {
    CompletableFuture<T> done = new CompletableFuture<>();
    try {
      thread.execute(() -> {
        RUNNING.set(this);
        try {
          done.complete(task.call());
        } catch (Exception | Error e) {
          done.completeExceptionally(e);
        }
      });
    } catch (RejectedExecutionException e) {
      done.completeExceptionally(
          new HypervisorException(Kind.REFUSED, name + " is no longer offered", e));
    }
    return done;
  }

  @Override
  public boolean isWhole() {
    return layers == 0;
  }

  @Override
  public CompletableFuture<Pass> beginPass() {
    return run(this::begin);
  }

  private Pass begin() throws Exception {
    if (closed || current.isPresent()) {
      throw new HypervisorException(
          Kind.REFUSED, name + (closed ? " is no longer offered" : ": a pass is under way"));
    }
    BitmapPass pass = first ? beginAllocated() : beginDirty();
    current = Optional.of(pass);
    return pass;
  }

  /**
   * The first pass is what so many of the topmost images hold, zeroes included; 0 is all of them.
   * To be called before that pass.
   */
  BitmapSource withLayers(int count) {
    layers = count;
    return this;
  }

  private BitmapPass beginAllocated() throws Exception {
    String id = exportId(-1);
    ImageContent all = ImageContent.open(exports, id, node, size, layers);
    return new BitmapPass(id, -1, all.content(), all.ranges());
  }

  private BitmapPass beginDirty() throws Exception {
    int frozen = number;
    monitor.execute(
        "transaction",
        Map.of(
            "actions",
            List.of(
                Map.of("type", "block-dirty-bitmap-add", "data", addArguments(frozen + 1)),
                Map.of("type", "block-dirty-bitmap-disable", "data", naming(frozen)))));
    number = frozen + 1;
    String id = exportId(frozen);
    try {
      exports.add(id, node, bitmap(frozen));
      String context = NbdClient.dirtyBitmapContext(bitmap(frozen));
      NbdClient content =
          ImageContent.connectOrRemove(
              exports, id, NbdClient.Options.DEFAULT.withContexts(context));
      try {
        return new BitmapPass(id, frozen, content, ImageContent.get(content.dirtyRanges(context)));
      } catch (Exception e) {
        content.close();
        exports.remove(id);
        throw e;
      }
    } catch (Exception e) {
      giveBack(frozen);
      throw e;
    }
  }

  private String exportId(int bitmap) {
    return prefix + "-" + node + (bitmap < 0 ? "-all" : "-b" + bitmap);
  }

  /** Puts what a disabled bitmap holds into the one that notes now. */
  private void giveBack(int frozen) throws HypervisorException, InterruptedException {
    monitor.execute(
        "block-dirty-bitmap-merge",
        Map.of("node", node, "target", bitmap(number), "bitmaps", List.of(bitmap(frozen))));
    monitor.execute("block-dirty-bitmap-remove", naming(frozen));
  }

  @Override
  public CompletableFuture<Mirror> mirror(BlockBackend sink, Duration patience) {
    return run(() -> {
      if (closed || mirror.filter(old -> !old.ended().isDone()).isPresent()) {
        throw new HypervisorException(
            Kind.REFUSED, name + (closed ? " is no longer offered" : " is mirrored already"));
      }
      BlockMirror fresh = mirrors.start(sink, patience);
      mirror = Optional.of(fresh);
      return fresh;
    });
  }

  @Override
  public CompletableFuture<Long> dirtyBytes() {
    return run(() -> {
      long bytes = 0;
      for (JsonNode bitmap : find(monitor, node).path("dirty-bitmaps")) {
        if (bitmap.path("name").asText().equals(bitmap(number))) {
          bytes = bitmap.path("count").asLong();
        }
      }
      return bytes;
    });
  }

  @Override
  public void close() {
    if (RUNNING.get() == this) {
      // Called by whom a future of ours has told: to wait for this thread would be for ever.
      giveUp();
      thread.shutdown();
      return;
    }
    var unused = run(this::giveUp);
    thread.shutdown();
    try {
      if (!thread.awaitTermination(Monitor.DEADLINE.toMillis(), TimeUnit.MILLISECONDS)) {
        log.warn("{}: its bitmaps stay until the next copy", name);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private boolean giveUp() {
    if (closed) {
      return false;
    }
    closed = true;
    mirror.ifPresent(old -> {
      old.abort("the copy ends");
      // Its own deadlines bound this, and the node's bitmaps can be removed at any time.
      old.ended().exceptionally(end -> null).join();
    });
    try {
      current.ifPresent(pass -> pass.content.close());
      clear(monitor, exports, node, prefix);
    } catch (HypervisorException e) {
      // With the process gone nothing is left; else the next copy clears it away.
      log.debug("{}: giving up its bitmaps", name, e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    return true;
  }

  private final class BitmapPass implements Pass {
    private final String id;
    private final int frozen;
    private final NbdClient content;
    private final List<Range> ranges;

    /**
     * @param frozen the bitmap's number, or -1 in the first pass
     */
    BitmapPass(String id, int frozen, NbdClient content, List<Range> ranges) {
      this.id = id;
      this.frozen = frozen;
      this.content = content;
      this.ranges = ranges;
    }

    @Override
    public BlockBackend content() {
      return content;
    }

    @Override
    public List<Range> ranges() {
      return ranges;
    }

    @Override
    public CompletableFuture<Void> end(boolean done) {
      return run(() -> {
        finish(done);
        return null;
      });
    }

    private void finish(boolean done) throws Exception {
      if (closed || current.filter(pass -> pass == this).isEmpty()) {
        return;
      }
      content.close();
      exports.remove(id);
      if (frozen < 0) {
        first = !done;
      } else if (done) {
        monitor.execute("block-dirty-bitmap-remove", naming(frozen));
      } else {
        giveBack(frozen);
      }
      current = Optional.empty();
    }
  }
}
