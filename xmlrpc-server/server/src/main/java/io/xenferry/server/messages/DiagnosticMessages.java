package io.xenferry.server.messages;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;
import io.xenferry.server.http.Router;
import io.xenferry.server.schema.Schema;
import java.lang.management.GarbageCollectorMXBean;
import java.lang.management.ManagementFactory;
import java.lang.management.MemoryPoolMXBean;
import java.lang.management.MemoryType;
import java.lang.management.MemoryUsage;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SequencedMap;
import java.util.Set;

/** What this server tells of itself: memory, database, requests, threads. */
public final class DiagnosticMessages {
  private static final String TEST = "DiagnosticsTest.theServerTellsOfItself";

  /** Characters of all threads' stacks. */
  private static final int THREADS_LIMIT = 1 << 20;

  private static final int WORD = 8;

  private final MeasuredDatabase database;
  private final Router router;

  public DiagnosticMessages(MeasuredDatabase database, Router router) {
    this.database = database;
    this.router = router;
  }

  public void register(Registry r) {
    r.implement("Diagnostics.gc_compact", DiagnosticMessages::compact, TEST);
    r.implement("Diagnostics.gc_stats", c -> ofHost(c, memory()), TEST);
    r.implement("Diagnostics.db_stats", c -> writes(), TEST);
    r.implement("Diagnostics.network_stats", this::requests, TEST);
    r.implement("host.get_thread_diagnostics", c -> ofHost(c, Value.of(threads())), TEST);
  }

  private static Value ofHost(Call c, Value answer) throws XenApiException {
    Schema.row(c.server().db().snapshot(), "host", c.text(0));
    return answer;
  }

  private static Value compact(Call c) throws XenApiException {
    Value answer = ofHost(c, Value.VOID);
    System.gc();
    return answer;
  }

  /** In the words of published servers, as far as they mean something here; words of 8 bytes. */
  private static Value memory() {
    MemoryUsage heap = ManagementFactory.getMemoryMXBean().getHeapMemoryUsage();
    List<GarbageCollectorMXBean> collectors = ManagementFactory.getGarbageCollectorMXBeans();
    long top =
        ManagementFactory.getMemoryPoolMXBeans().stream()
            .filter(pool -> pool.getType() == MemoryType.HEAP)
            .map(MemoryPoolMXBean::getPeakUsage)
            .mapToLong(MemoryUsage::getUsed)
            .sum();
    SequencedMap<String, String> stats = new LinkedHashMap<>();
    stats.put("heap_words", Long.toString(heap.getCommitted() / WORD));
    stats.put("live_words", Long.toString(heap.getUsed() / WORD));
    stats.put("free_words", Long.toString(heap.getCommitted() / WORD - heap.getUsed() / WORD));
    stats.put("top_heap_words", Long.toString(top / WORD));
    // The young generation's collector is told first.
    for (int i = 0; i < collectors.size(); i++) {
      String which = i == 0 ? "minor_collections" : "major_collections";
      long count = Math.max(0, collectors.get(i).getCollectionCount());
      stats.merge(
          which,
          Long.toString(count),
          (a, b) -> Long.toString(Long.parseLong(a) + Long.parseLong(b)));
    }
    return Value.ofTexts(stats);
  }

  private Value writes() {
    MeasuredDatabase.Writes writes = database.writes();
    SequencedMap<String, String> stats = new LinkedHashMap<>();
    stats.put("n", Long.toString(writes.count()));
    stats.put("avgtime", String.format(Locale.ROOT, "%f", writes.mean()));
    stats.put("min", String.format(Locale.ROOT, "%f", writes.shortest()));
    stats.put("max", String.format(Locale.ROOT, "%f", writes.longest()));
    return Value.ofTexts(stats);
  }

  /** A row for each path; {@code params} says which may be asked for, and {@code params} is one. */
  private Value requests(Call c) throws XenApiException {
    ofHost(c, Value.VOID);
    Map<String, String> wanted = c.textMap(1);
    for (String key : wanted.keySet()) {
      if (!Set.of("method", "uri", "params").contains(key)) {
        throw new XenApiException("INVALID_VALUE", "params", key);
      }
    }
    List<String> columns = List.of(wanted.getOrDefault("params", "").split(","));
    boolean all = !wanted.containsKey("params");
    List<Value> rows = new ArrayList<>();
    for (Router.Requests path : router.requests()) {
      if (!wanted.getOrDefault("method", path.method()).equalsIgnoreCase(path.method())
          || !wanted.getOrDefault("uri", path.path()).equalsIgnoreCase(path.path())) {
        continue;
      }
      SequencedMap<String, String> row = new LinkedHashMap<>();
      row.put("method", path.method());
      row.put("uri", path.path());
      row.put("requests", Long.toString(path.count()));
      row.put("connections", Long.toString(path.connections()));
      row.put("framed", "0"); // a framing of published servers among themselves
      rows.add(
          Value.ofTexts(
              row.entrySet().stream()
                  .filter(e -> all || columns.contains(e.getKey()))
                  .map(Map.Entry::getValue)
                  .toList()));
    }
    return new Value.Array(rows);
  }

  private static String threads() {
    StringBuilder text = new StringBuilder();
    Thread.getAllStackTraces().entrySet().stream()
        .sorted(Comparator.comparingLong(e -> e.getKey().threadId()))
        .forEach(e -> {
          Thread thread = e.getKey();
          if (text.length() < THREADS_LIMIT) {
            text.append(thread.threadId())
                .append(' ')
                .append(thread.getName())
                .append(' ')
                .append(thread.getState())
                .append('\n');
            for (StackTraceElement frame : e.getValue()) {
              text.append("  ").append(frame).append('\n');
            }
          }
        });
    return text.length() > THREADS_LIMIT ? text.substring(0, THREADS_LIMIT) : text.toString();
  }
}
