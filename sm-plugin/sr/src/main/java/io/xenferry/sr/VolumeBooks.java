package io.xenferry.sr;

import java.io.IOException;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.UUID;
import java.util.regex.Pattern;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The records of an SR's volumes. A record is written before its volume is made and deleted after
 * it: an operation that a crash cut short is seen by its record's state, and undone or ended when
 * the books are opened. Guarded by the repository's lock.
 */
final class VolumeBooks {
  private static final Logger LOG = LoggerFactory.getLogger(VolumeBooks.class);

  private static final Pattern UUID_TEXT =
      Pattern.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}");

  private final String sr;
  private final VolumeStore store;
  private final Map<String, Map<String, String>> records = new HashMap<>();

  private VolumeBooks(String sr, VolumeStore store) {
    this.sr = sr;
    this.store = store;
  }

  /** Reads the books and repairs them. */
  static VolumeBooks open(String sr, VolumeStore store) throws IOException {
    VolumeBooks books = new VolumeBooks(sr, store);
    books.records.putAll(store.records());
    for (String vdi : List.copyOf(books.records.keySet())) {
      if (!books.isReady(vdi)) {
        LOG.info("SR {}: VDI {} was left half made or half removed: removed", sr, vdi);
        books.remove(vdi);
      }
    }
    return books;
  }

  boolean isEmpty() {
    return records.isEmpty();
  }

  int size() {
    return records.size();
  }

  /** Those that are whole, by location. */
  Set<String> ready() {
    Set<String> ready = new TreeSet<>(records.keySet());
    ready.removeIf(vdi -> !isReady(vdi));
    return ready;
  }

  boolean knows(String vdi) {
    return records.containsKey(vdi);
  }

  private boolean isReady(String vdi) {
    Map<String, String> record = records.get(vdi);
    return record != null
        && record.getOrDefault(VdiRecords.STATE, VdiRecords.READY).equals(VdiRecords.READY);
  }

  /** Checks that there is such a VDI, whole. */
  void require(String vdi) throws SmapiException, IOException {
    if (!isReady(vdi) || !store.exists(vdi)) {
      throw SmapiException.vdiDoesNotExist(sr, vdi);
    }
  }

  static void requireUuid(String text) throws SmapiException {
    if (!UUID_TEXT.matcher(text).matches()) {
      throw SmapiException.failure(SmError.VDI_CREATE, "'" + text + "' is not a UUID");
    }
  }

  VdiInfo info(String vdi) throws IOException {
    Map<String, String> record = records.getOrDefault(vdi, Map.of());
    Map<String, String> shown =
        store.chains().isPresent() ? store.chains().get().describe(vdi) : Map.of();
    return VdiRecords.read(vdi, record, store.size(vdi), store.allocated(vdi), shown)
        .edit()
        .cbtEnabled(!store.changes(vdi).isEmpty())
        .done();
  }

  /** Writes the record of a VDI that is whole. */
  void save(VdiInfo info) throws IOException {
    put(info, VdiRecords.READY);
  }

  private void put(VdiInfo info, String state) throws IOException {
    Map<String, String> record = VdiRecords.write(info, state);
    store.putRecord(info.vdi(), record);
    records.put(info.vdi(), record);
  }

  /** Makes the volume of a record that was begun. */
  @FunctionalInterface
  interface Maker {
    void make(String key) throws IOException;
  }

  /**
   * Makes the record, marked unfinished, then the volume.
   *
   * @return its location
   */
  String begin(VdiInfo wanted, Maker maker) throws SmapiException, IOException {
    String key = wanted.uuid().orElseGet(() -> UUID.randomUUID().toString());
    requireUuid(key);
    if (knows(key) || store.exists(key)) {
      throw SmapiException.failure(SmError.VDI_EXISTS, "there is a VDI " + key + " already");
    }
    put(wanted.edit().vdi(key).uuid(key).done(), VdiRecords.CREATING);
    try {
      maker.make(key);
    } catch (IOException e) {
      discard(key);
      throw e;
    }
    return key;
  }

  /** Marks a volume whole that was begun. */
  VdiInfo finish(String key, VdiInfo wanted) throws IOException {
    try {
      save(wanted.edit().vdi(key).uuid(key).done());
      return info(key);
    } catch (IOException e) {
      discard(key);
      throw e;
    }
  }

  /**
   * Removes a volume that was begun; what cannot be removed now is when the SR is next attached.
   */
  void discard(String key) {
    try {
      remove(key);
    } catch (IOException e) {
      LOG.warn("SR {}: VDI {} is half made and cannot be removed now", sr, key, e);
    }
  }

  /** Removes a VDI; a crash half way is ended later. */
  void destroy(String vdi) throws IOException {
    try {
      put(info(vdi), VdiRecords.DESTROYING);
    } catch (IOException e) {
      // A full file system must not keep what fills it.
      LOG.warn("SR {}: VDI {} is removed without a mark of that", sr, vdi, e);
    }
    remove(vdi);
  }

  private void remove(String vdi) throws IOException {
    store.delete(vdi);
    store.deleteChanges(vdi);
    store.deleteRecord(vdi);
    records.remove(vdi);
  }
}
