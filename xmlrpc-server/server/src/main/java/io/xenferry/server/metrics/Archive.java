package io.xenferry.server.metrics;

import java.io.DataInput;
import java.io.DataOutput;
import java.io.IOException;
import java.util.LinkedHashSet;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Pattern;

/**
 * All figures of one owner: their past, their latest values, and those that nobody wants kept. Not
 * thread-safe.
 */
final class Archive {
  /** A VM with 32 processors, 16 disks and 8 network cards has 162. */
  static final int LIMIT = 512;

  /** Nothing in a name needs escaping, neither in XML nor in JSON nor in a legend. */
  private static final Pattern NAME = Pattern.compile("[A-Za-z0-9_.@-]{1,64}");

  final Map<String, Series> series = new TreeMap<>();
  final Map<String, Double> latest = new TreeMap<>();
  private final Set<String> unwanted = new LinkedHashSet<>();

  /** Of the newest value, seconds since 1970. */
  private long updated;

  /**
   * @param room whether one more series may be made
   * @return whether one was
   */
  boolean add(String name, long seconds, double value, boolean room) {
    if (!NAME.matcher(name).matches() || (!latest.containsKey(name) && latest.size() >= LIMIT)) {
      return false;
    }
    updated = seconds;
    latest.put(name, value);
    if (unwanted.contains(name)) {
      return false;
    }
    Series known = series.get(name);
    boolean fresh = known == null && room;
    if (fresh) {
      known = new Series();
      series.put(name, known);
    }
    if (known != null) {
      known.add(seconds, value);
    }
    return fresh;
  }

  long updated() {
    return updated;
  }

  boolean knows(String name) {
    return latest.containsKey(name) || series.containsKey(name);
  }

  boolean wants(String name) {
    return !unwanted.contains(name);
  }

  void want(String name) {
    unwanted.remove(name);
  }

  /** Drops the past of a figure, and keeps none of it from now on. */
  void forget(String name) {
    series.remove(name);
    if (unwanted.size() < LIMIT) {
      unwanted.add(name);
    }
  }

  /** What has no value any more: the last one is not what it uses now. */
  void gone() {
    latest.clear();
  }

  void write(DataOutput out) throws IOException {
    out.writeLong(updated);
    out.writeInt(unwanted.size());
    for (String name : unwanted) {
      out.writeUTF(name);
    }
    out.writeInt(series.size());
    for (Map.Entry<String, Series> one : series.entrySet()) {
      out.writeUTF(one.getKey());
      one.getValue().write(out);
    }
  }

  /** What {@link #write} wrote. */
  static Archive read(DataInput in) throws IOException {
    Archive archive = new Archive();
    archive.updated = in.readLong();
    int unwanted = count(in);
    for (int i = 0; i < unwanted; i++) {
      archive.unwanted.add(name(in));
    }
    int series = count(in);
    for (int i = 0; i < series; i++) {
      archive.series.put(name(in), Series.read(in));
    }
    return archive;
  }

  private static int count(DataInput in) throws IOException {
    int count = in.readInt();
    if (count < 0 || count > LIMIT) {
      throw new IOException(count + " figures");
    }
    return count;
  }

  private static String name(DataInput in) throws IOException {
    String name = in.readUTF();
    if (!NAME.matcher(name).matches()) {
      throw new IOException("a figure without a name");
    }
    return name;
  }
}
