package io.xenferry.sr.memory;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.block.BlockException.Kind;
import io.xenferry.block.ForwardingBackend;
import io.xenferry.block.MemoryBackend;
import io.xenferry.sr.VdiInfo;
import io.xenferry.sr.VolumeStore;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicBoolean;

/** Volumes and records in memory, which outlive detaching. Every step may be made to fail. */
public final class MemoryVolumes implements VolumeStore {
  private final Map<String, Map<String, String>> records = new ConcurrentHashMap<>();
  private final Map<String, MemoryBackend> volumes = new ConcurrentHashMap<>();
  private final AtomicBoolean attached = new AtomicBoolean();
  private final long capacity;
  private volatile Map<String, String> srRecord = Map.of();
  private volatile Faults faults = step -> Optional.empty();

  /** Which steps fail. */
  @FunctionalInterface
  public interface Faults {
    /** The failure of a step, named as the methods of {@link VolumeStore}; empty lets it pass. */
    Optional<IOException> of(String step);
  }

  MemoryVolumes(long capacity) {
    this.capacity = capacity;
  }

  /** Fails as told from now on. */
  public void follow(Faults value) {
    faults = value;
  }

  boolean attach() {
    return attached.compareAndSet(false, true);
  }

  @Override
  public Map<String, Map<String, String>> records() throws IOException {
    step("records");
    return Map.copyOf(records);
  }

  @Override
  public void putRecord(String key, Map<String, String> record) throws IOException {
    step("putRecord");
    records.put(key, Map.copyOf(record));
  }

  @Override
  public void deleteRecord(String key) throws IOException {
    step("deleteRecord");
    records.remove(key);
  }

  @Override
  public void create(String key, VdiInfo wanted, long size) throws IOException {
    step("create");
    volumes.put(key, new MemoryBackend(key, size));
  }

  @Override
  public void delete(String key) throws IOException {
    step("delete");
    volumes.remove(key);
  }

  @Override
  public boolean exists(String key) {
    return volumes.containsKey(key);
  }

  @Override
  public long size(String key) throws IOException {
    return volume(key).size();
  }

  @Override
  public void grow(String key, long size) throws IOException {
    step("grow");
    MemoryBackend old = volume(key);
    MemoryBackend grown = new MemoryBackend(key, size);
    ByteBuffer buffer = ByteBuffer.allocate(1 << 20);
    for (long at = 0; at < old.size(); at += buffer.capacity()) {
      buffer.clear().limit((int) Math.min(buffer.capacity(), old.size() - at));
      old.read(at, buffer.duplicate()).join();
      grown.write(at, buffer.duplicate()).join();
    }
    volumes.put(key, grown);
  }

  @Override
  public long allocated(String key) throws IOException {
    return volume(key).allocated();
  }

  @Override
  public BlockBackend open(String key, boolean writable) throws BlockException {
    try {
      step("open");
      MemoryBackend volume = volume(key);
      // Closing what was opened must not end the volume.
      BlockBackend open = new Handle(volume);
      return writable ? open : ForwardingBackend.readOnly(open);
    } catch (IOException e) {
      throw e instanceof BlockException b ? b : new BlockException(Kind.IO, key + ": " + e, e);
    }
  }

  @Override
  public Optional<Path> path(String key) {
    return Optional.empty();
  }

  @Override
  public Space space() throws IOException {
    step("space");
    long used = volumes.values().stream().mapToLong(MemoryBackend::allocated).sum();
    return new Space(capacity, Math.max(0, capacity - used));
  }

  @Override
  public Map<String, String> srRecord() {
    return srRecord;
  }

  @Override
  public void putSrRecord(Map<String, String> record) throws IOException {
    step("putSrRecord");
    srRecord = Map.copyOf(record);
  }

  @Override
  public void close() {
    attached.set(false);
  }

  @Override
  public void destroy() throws IOException {
    step("destroy");
    srRecord = Map.of();
    close();
  }

  private void step(String name) throws IOException {
    Optional<IOException> fault = faults.of(name);
    if (fault.isPresent()) {
      throw fault.get();
    }
  }

  private MemoryBackend volume(String key) throws IOException {
    MemoryBackend volume = volumes.get(key);
    if (volume == null) {
      throw new FileNotFoundException(key);
    }
    return volume;
  }

  private static final class Handle extends ForwardingBackend {
    Handle(BlockBackend delegate) {
      super(delegate);
    }

    @Override
    public void close() {
      // The volume stays.
    }
  }
}
