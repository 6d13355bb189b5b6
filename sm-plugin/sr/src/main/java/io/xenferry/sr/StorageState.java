package io.xenferry.sr;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * The datapaths on disk, so that a restarted server knows what its guests have open. Keys are
 * {@code dp<TAB>sr<TAB>vdi<TAB>dp}.
 */
final class StorageState {
  private static final String SEPARATOR = "\t";

  private final Optional<Path> file;
  private Map<String, String> entries = new TreeMap<>();

  /** One datapath as it was stored. */
  record Stored(String sr, String vdi, String dp, String domain, DatapathState state) {}

  StorageState(Optional<Path> file) throws IOException {
    this.file = file;
    if (file.isPresent()) {
      entries.putAll(AtomicFile.read(file.get()));
    }
  }

  synchronized List<Stored> datapaths() {
    List<Stored> stored = new ArrayList<>();
    entries.forEach((key, value) -> {
      String[] k = key.split(SEPARATOR, -1);
      String[] v = value.split(SEPARATOR, -1);
      if (k.length == 4 && v.length == 2) {
        stored.add(new Stored(k[1], k[2], k[3], v[1], DatapathState.valueOf(v[0])));
      }
    });
    return stored;
  }

  /** Changes nothing when it fails. */
  synchronized void putDatapath(
      String sr, String vdi, String dp, String domain, DatapathState state) throws IOException {
    String key = String.join(SEPARATOR, "dp", sr, vdi, dp);
    Map<String, String> next = new TreeMap<>(entries);
    if (state == DatapathState.DETACHED) {
      next.remove(key);
    } else {
      next.put(key, state.name() + SEPARATOR + domain);
    }
    if (file.isPresent()) {
      AtomicFile.write(file.get(), next);
    }
    entries = next;
  }
}
