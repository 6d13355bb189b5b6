package io.xenferry.sr;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * The little that differs between drivers of plain volumes: where bytes and records are. {@link
 * VolumeRepository} does the rest. Called under its lock, except {@link #open}.
 */
public interface VolumeStore {

  /** All records by key, unfinished ones included. */
  Map<String, Map<String, String>> records() throws IOException;

  /** Writes a record so that after a crash either the old or the new one is there. */
  void putRecord(String key, Map<String, String> record) throws IOException;

  void deleteRecord(String key) throws IOException;

  /**
   * Of which formats volumes can be made, first the one that those have for which none is asked.
   */
  default List<String> formats() {
    return List.of("raw");
  }

  /** What is asked for, with what the store adds to its sm_config. */
  default VdiInfo complete(VdiInfo wanted) throws SmapiException {
    return wanted;
  }

  /**
   * Makes a volume of zeroes.
   *
   * @param wanted as {@link #complete} has it
   */
  void create(String key, VdiInfo wanted, long size) throws IOException;

  /** Deletes a volume if it is there. */
  void delete(String key) throws IOException;

  boolean exists(String key) throws IOException;

  long size(String key) throws IOException;

  void grow(String key, long size) throws IOException;

  /** Bytes in use. */
  long allocated(String key) throws IOException;

  BlockBackend open(String key, boolean writable) throws BlockException;

  Optional<Path> path(String key);

  /**
   * A raw view of the volume, until it is ended.
   *
   * @param below whether what lies below shows where the volume's own image holds nothing; if not,
   *     that reads as zeroes
   */
  default Optional<Path> beginView(String key, boolean below) throws IOException {
    return path(key);
  }

  /** Ends the view if there is one, perhaps of another server's; nothing has it open then. */
  default void endView(String key) throws IOException {}

  /** The record of changed blocks of a volume, which outlasts its image; empty if it has none. */
  default Map<String, String> changes(String key) throws IOException {
    return Map.of();
  }

  default void putChanges(String key, Map<String, String> record) throws IOException {
    throw new IOException("changed blocks are not tracked here");
  }

  default void deleteChanges(String key) throws IOException {}

  /** What can be done with volumes that rest on others; empty where each stands alone. */
  default Optional<VolumeChains> chains() {
    return Optional.empty();
  }

  /** Total and free bytes. */
  Space space() throws IOException;

  /** The SR's own record: {@code name_label}, {@code name_description}. */
  Map<String, String> srRecord() throws IOException;

  void putSrRecord(Map<String, String> record) throws IOException;

  void close();

  /** Deletes the SR, which is empty, and closes. */
  void destroy() throws IOException;

  record Space(long total, long free) {}
}
