package io.xenferry.qemu.access;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/**
 * The access control list of a file (acl(5)) as the kernel keeps it, in the extended attribute
 * {@code system.posix_acl_access}: the JDK knows of none. Owner, group and whatever else is in it
 * stay as they are.
 */
final class AccessList {
  static final int READ = 4;
  static final int WRITE = 2;
  static final int SEARCH = 1;

  private static final String ATTRIBUTE = "system.posix_acl_access";
  private static final int VERSION = 2;
  private static final int HEADER = 4;
  private static final int ENTRY = 8;

  /** The kernel's own limit for an extended attribute. */
  private static final int LIMIT = 64 << 10;

  private static final int OWNER = 0x01;
  private static final int USER = 0x02;
  private static final int OWNING_GROUP = 0x04;
  private static final int GROUP = 0x08;
  private static final int MASK = 0x10;
  private static final int OTHER = 0x20;
  private static final int NOBODY = -1;

  private static final int ENOENT = 2;
  private static final int ENODATA = 61;
  private static final int EOPNOTSUPP = 95;

  private static final MethodHandle GET;
  private static final MethodHandle SET;
  private static final MemoryLayout STATE = Linker.Option.captureStateLayout();
  private static final VarHandle ERRNO =
      STATE.varHandle(MemoryLayout.PathElement.groupElement("errno"));

  static {
    Linker linker = Linker.nativeLinker();
    Linker.Option errno = Linker.Option.captureCallState("errno");
    var i = ValueLayout.JAVA_INT;
    var l = ValueLayout.JAVA_LONG;
    var p = ValueLayout.ADDRESS;
    GET =
        linker.downcallHandle(
            linker.defaultLookup().findOrThrow("getxattr"),
            FunctionDescriptor.of(l, p, p, p, l),
            errno);
    SET =
        linker.downcallHandle(
            linker.defaultLookup().findOrThrow("setxattr"),
            FunctionDescriptor.of(i, p, p, p, l, i),
            errno);
  }

  private record Entry(int tag, int permissions, int id) {}

  private AccessList() {}

  /** Whether this process has the rights of root over files. */
  static boolean isRoot() throws IOException {
    return owner(Path.of("/proc/self")) == 0;
  }

  /** The user to whom a file belongs. */
  static int owner(Path file) throws IOException {
    return (Integer) Files.getAttribute(file, "unix:uid");
  }

  /** What everybody may. */
  static int others(Path file) throws IOException {
    return mode(file) & 7;
  }

  private static int mode(Path file) throws IOException {
    return (Integer) Files.getAttribute(file, "unix:mode");
  }

  /** Lets a user do so much, neither more nor less. */
  static void allowUser(Path file, int uid, int permissions) throws IOException {
    allow(file, new Entry(USER, permissions, uid));
  }

  /** The same of a group. */
  static void allowGroup(Path file, int gid, int permissions) throws IOException {
    allow(file, new Entry(GROUP, permissions, gid));
  }

  /** Whether a group may do so much already by an entry of its own. */
  static boolean letsGroup(Path file, int gid, int permissions) throws IOException {
    int mask = 7;
    int own = 0;
    for (Entry e : read(file)) {
      if (e.tag() == MASK) {
        mask = e.permissions();
      } else if (e.tag() == GROUP && e.id() == gid) {
        own = e.permissions();
      }
    }
    return (own & mask & permissions) == permissions;
  }

  private static void allow(Path file, Entry wanted) throws IOException {
    List<Entry> before = read(file);
    List<Entry> entries = new ArrayList<>(before);
    entries.removeIf(e -> e.tag() == wanted.tag() && e.id() == wanted.id() || e.tag() == MASK);
    entries.add(wanted);
    // What the mask takes from others it goes on taking.
    int mask =
        before.stream()
            .filter(e -> e.tag() == MASK)
            .findFirst()
            .orElseGet(() ->
                before.stream().filter(e -> e.tag() == OWNING_GROUP).findFirst().orElseThrow())
            .permissions();
    entries.add(new Entry(MASK, mask | wanted.permissions(), NOBODY));
    entries.sort(Comparator.comparingInt(Entry::tag).thenComparingInt(Entry::id));
    if (!entries.equals(before)) {
      write(file, entries);
    }
  }

  /** Takes a user's entry away; nothing happens where there is none. */
  static void forbidUser(Path file, int uid) throws IOException {
    List<Entry> before = read(file);
    List<Entry> entries = new ArrayList<>(before);
    entries.removeIf(e -> e.tag() == USER && e.id() == uid);
    if (entries.stream().noneMatch(e -> e.tag() == USER || e.tag() == GROUP)) {
      // The rest is what a mode says.
      entries.removeIf(e -> e.tag() == MASK);
    }
    if (!entries.equals(before)) {
      write(file, entries);
    }
  }

  private static List<Entry> read(Path file) throws IOException {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment state = arena.allocate(STATE);
      MemorySegment value = arena.allocate(LIMIT);
      long length =
          (long)
              GET.invokeExact(
                  state,
                  arena.allocateFrom(file.toString()),
                  arena.allocateFrom(ATTRIBUTE),
                  value,
                  (long) LIMIT);
      if (length < 0) {
        int errno = (int) ERRNO.get(state, 0L);
        if (errno == ENODATA) {
          return ofMode(mode(file));
        }
        throw failure(file, errno);
      }
      return parse(file, value.asSlice(0, length).toArray(ValueLayout.JAVA_BYTE));
    } catch (IOException | RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new IOException(e);
    }
  }

  private static List<Entry> ofMode(int mode) {
    return List.of(
        new Entry(OWNER, mode >> 6 & 7, NOBODY),
        new Entry(OWNING_GROUP, mode >> 3 & 7, NOBODY),
        new Entry(OTHER, mode & 7, NOBODY));
  }

  private static List<Entry> parse(Path file, byte[] value) throws IOException {
    ByteBuffer in = ByteBuffer.wrap(value).order(ByteOrder.LITTLE_ENDIAN);
    if (value.length < HEADER || in.getInt() != VERSION || in.remaining() % ENTRY != 0) {
      throw new FileSystemException(file.toString(), null, "has a strange access control list");
    }
    List<Entry> entries = new ArrayList<>();
    while (in.hasRemaining()) {
      entries.add(new Entry(in.getShort() & 0xffff, in.getShort() & 0xffff, in.getInt()));
    }
    return entries;
  }

  private static void write(Path file, List<Entry> entries) throws IOException {
    ByteBuffer out =
        ByteBuffer.allocate(HEADER + ENTRY * entries.size()).order(ByteOrder.LITTLE_ENDIAN);
    out.putInt(VERSION);
    for (Entry e : entries) {
      out.putShort((short) e.tag()).putShort((short) e.permissions()).putInt(e.id());
    }
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment state = arena.allocate(STATE);
      int result =
          (int)
              SET.invokeExact(
                  state,
                  arena.allocateFrom(file.toString()),
                  arena.allocateFrom(ATTRIBUTE),
                  arena.allocateFrom(ValueLayout.JAVA_BYTE, out.array()),
                  (long) out.capacity(),
                  0);
      if (result < 0) {
        throw failure(file, (int) ERRNO.get(state, 0L));
      }
    } catch (IOException | RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new IOException(e);
    }
  }

  private static IOException failure(Path file, int errno) {
    return switch (errno) {
      case ENOENT -> new NoSuchFileException(file.toString());
      case EOPNOTSUPP ->
          new FileSystemException(
              file.toString(), null, "is on a file system without access control lists");
      default ->
          new FileSystemException(
              file.toString(), null, "its access control list: error " + errno + " of the system");
    };
  }
}
