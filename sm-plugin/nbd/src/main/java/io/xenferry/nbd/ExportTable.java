package io.xenferry.nbd;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentSkipListMap;

/** The exports of a server by their names, and who is let in under which. Thread-safe. */
final class ExportTable {
  /** A later opening of a secret export is asked for as {@code NAME.17}. */
  private static final char GENERATION = '.';

  /** How names are told and found. */
  enum Names {
    /** Whoever connects may see them. */
    LISTED,
    /**
     * A name is what admits: none is told, a wrong one is refused in the same time as any other,
     * and it may carry a generation. Whoever comes with a higher one displaces those of lower ones,
     * and is let in when nothing of theirs is under way any more.
     */
    SECRET
  }

  /** An export that a name led to. */
  record Found(Entry entry, long generation) {}

  private final Map<String, Entry> exports = new ConcurrentSkipListMap<>();
  private final Names names;

  ExportTable(Names names) {
    this.names = names;
  }

  void add(String name, NbdExport export) {
    if (name.getBytes(StandardCharsets.UTF_8).length > NbdProtocol.MAX_STRING) {
      throw new IllegalArgumentException("the export's name is too long");
    }
    if (exports.putIfAbsent(name, new Entry(name, export)) != null) {
      throw new IllegalArgumentException("there is an export of that name already");
    }
  }

  /** Completes when no request to it is under way any more. */
  CompletableFuture<Void> remove(String name) {
    Entry entry = exports.remove(name);
    if (entry == null) {
      throw new NoSuchElementException("no such export");
    }
    return entry.remove();
  }

  List<String> all() {
    return List.copyOf(exports.keySet());
  }

  Optional<Entry> get(String name) {
    return Optional.ofNullable(exports.get(name));
  }

  /** Those that may be told to whoever asks. */
  List<Entry> listed() {
    return names == Names.LISTED ? List.copyOf(exports.values()) : List.of();
  }

  /**
   * What a client asks for.
   *
   * @param peer SHA-256 of the certificate that it showed
   */
  Optional<Found> find(String asked, Optional<String> peer) {
    if (names == Names.LISTED) {
      return get(asked).filter(e -> e.export.admits(peer)).map(e -> new Found(e, 0));
    }
    int dot = asked.lastIndexOf(GENERATION);
    OptionalLong generation = dot < 0 ? OptionalLong.of(0) : number(asked.substring(dot + 1));
    byte[] name = (dot < 0 ? asked : asked.substring(0, dot)).getBytes(StandardCharsets.UTF_8);
    Optional<Entry> found = Optional.empty();
    // All of them, each in a time that does not depend on how much of it was right.
    for (Entry entry : exports.values()) {
      if (MessageDigest.isEqual(entry.name.getBytes(StandardCharsets.UTF_8), name)) {
        found = Optional.of(entry);
      }
    }
    return generation.isEmpty()
        ? Optional.empty()
        : found.filter(e -> e.export.admits(peer)).map(e -> new Found(e, generation.getAsLong()));
  }

  private static OptionalLong number(String text) {
    return text.matches("[0-9]{1,18}")
        ? OptionalLong.of(Long.parseLong(text))
        : OptionalLong.empty();
  }

  /** An export and those who use it. */
  static final class Entry {
    final String name;
    final NbdExport export;
    private Tenancy tenancy = new Tenancy(this, 0, CompletableFuture.completedFuture(null));
    private boolean removed;

    Entry(String name, NbdExport export) {
      this.name = name;
      this.export = export;
    }

    /** Empty once it is removed, or for a generation that another has displaced. */
    synchronized Optional<Tenancy> admit(long generation) {
      if (removed || generation < tenancy.generation) {
        return Optional.empty();
      }
      if (generation > tenancy.generation) {
        tenancy = new Tenancy(this, generation, tenancy.end());
      }
      return Optional.of(tenancy);
    }

    synchronized CompletableFuture<Void> remove() {
      removed = true;
      return tenancy.end();
    }

    synchronized int sessions() {
      return tenancy.sessions();
    }
  }
}
