package io.xenferry.block;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.Optional;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What Linux can do to a file and Java cannot say: holes, and locks that belong to the open file.
 *
 * <p>Has a descriptor of its own beside the FileChannel, since lseek moves the file position. Its
 * locks are OFD locks (fcntl(2), Linux 3.15), which no other descriptor of this process drops.
 */
final class LinuxFile implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(LinuxFile.class);

  private static final int O_RDONLY = 0;
  private static final int O_RDWR = 2;
  private static final int O_CLOEXEC = 0x80000;
  private static final int SEEK_DATA = 3;
  private static final int SEEK_HOLE = 4;
  private static final int FALLOC_KEEP_SIZE = 1;
  private static final int FALLOC_PUNCH_HOLE = 2;
  private static final int FALLOC_ZERO_RANGE = 0x10;
  private static final int F_OFD_GETLK = 36;
  private static final int F_OFD_SETLK = 37;
  static final short READ_LOCK = 0;
  static final short WRITE_LOCK = 1;
  private static final short UNLOCKED = 2;

  /** statx(2) of a descriptor: struct statx is 256 bytes, the same on all machines. */
  private static final int AT_EMPTY_PATH = 0x1000;

  private static final int STATX_BLOCKS = 0x400;
  private static final int STATX_SIZE = 256;
  private static final int STX_MASK = 0;
  private static final int STX_BLOCKS = 48;
  private static final int STX_UNIT = 512;

  /** preadv2(2), Linux 4.14: fails with EAGAIN, or reads less, rather than to wait. */
  private static final int RWF_NOWAIT = 8;

  private static final int EINTR = 4;
  private static final int ENXIO = 6;
  private static final int ENOSPC = 28;
  private static final int EOPNOTSUPP = 95;

  private static final @Nullable Calls CALLS = bind();

  private final Calls calls;
  private final int fd;
  private boolean closed;
  private volatile boolean knowsNoWait = true;

  private record Calls(
      MethodHandle open,
      MethodHandle close,
      MethodHandle lseek,
      MethodHandle fallocate,
      MethodHandle fcntl,
      Optional<MethodHandle> statx,
      Optional<MethodHandle> preadv2,
      MemoryLayout errnoLayout,
      VarHandle errno) {}

  private LinuxFile(Calls calls, int fd) {
    this.calls = calls;
    this.fd = fd;
  }

  /** Empty where the machine is no 64-bit Linux, or native access is forbidden. */
  static Optional<LinuxFile> open(Path path, boolean write) throws IOException {
    Calls calls = CALLS;
    if (calls == null) {
      return Optional.empty();
    }
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment state = arena.allocate(calls.errnoLayout);
      int flags = (write ? O_RDWR : O_RDONLY) | O_CLOEXEC;
      int fd = (int) calls.open.invokeExact(state, arena.allocateFrom(path.toString()), flags);
      if (fd < 0) {
        throw new IOException(path + ": open failed, errno " + errno(calls, state));
      }
      return Optional.of(new LinuxFile(calls, fd));
    } catch (IOException e) {
      throw e;
    } catch (Throwable e) {
      throw new IOException(path.toString(), e);
    }
  }

  /** The first byte at or after {@code from} that may hold data, or -1 when none follows. */
  long nextData(long from) throws IOException {
    return seek(from, SEEK_DATA);
  }

  /** The first byte at or after {@code from} that is in a hole; the end of the file is one. */
  long nextHole(long from) throws IOException {
    return seek(from, SEEK_HOLE);
  }

  /**
   * What the file takes up, preallocated space included; empty where that cannot be asked. One
   * call, however many holes there are.
   */
  OptionalLong occupied() throws IOException {
    if (calls.statx.isEmpty()) {
      return OptionalLong.empty();
    }
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment state = arena.allocate(calls.errnoLayout);
      MemorySegment told = arena.allocate(STATX_SIZE, Long.BYTES);
      MemorySegment path = arena.allocateFrom("");
      int result =
          (int) calls.statx.get().invokeExact(state, fd, path, AT_EMPTY_PATH, STATX_BLOCKS, told);
      if (result != 0 || (told.get(ValueLayout.JAVA_INT, STX_MASK) & STATX_BLOCKS) == 0) {
        return OptionalLong.empty();
      }
      return OptionalLong.of(told.get(ValueLayout.JAVA_LONG, STX_BLOCKS) * STX_UNIT);
    } catch (Throwable e) {
      throw new IOException(e);
    }
  }

  /** Deallocates the range; false where the file system cannot. */
  boolean punchHole(long offset, long length) throws IOException {
    return allocate(FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, offset, length);
  }

  /** Makes the range read as zeroes without writing them; false where it cannot. */
  boolean zeroRange(long offset, long length) throws IOException {
    return allocate(FALLOC_ZERO_RANGE | FALLOC_KEEP_SIZE, offset, length);
  }

  /**
   * Fills a direct buffer from the page cache alone (preadv2(2), RWF_NOWAIT).
   *
   * @return false where some of it is not there, or nobody knows without waiting
   */
  boolean readCached(long offset, ByteBuffer into) {
    if (calls.preadv2.isEmpty() || !knowsNoWait) {
      return false;
    }
    int length = into.remaining();
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment state = arena.allocate(calls.errnoLayout);
      // struct iovec: the buffer's address and length.
      MemorySegment vector = arena.allocate(2 * Long.BYTES, Long.BYTES);
      vector.set(ValueLayout.ADDRESS, 0, MemorySegment.ofBuffer(into));
      vector.set(ValueLayout.JAVA_LONG, Long.BYTES, length);
      long got = (long) calls.preadv2.get().invokeExact(state, fd, vector, 1, offset, RWF_NOWAIT);
      if (got < 0 && errno(calls, state) == EOPNOTSUPP) {
        knowsNoWait = false;
      }
      return got == length;
    } catch (Throwable e) {
      LOG.debug("preadv2 failed", e);
      knowsNoWait = false;
      return false;
    }
  }

  /** Takes a shared lock on one byte; false when another open file excludes it. */
  boolean lockShared(long at) {
    return lock(F_OFD_SETLK, READ_LOCK, at) != Answer.CONFLICT;
  }

  /** Whether any other open file holds any lock on the byte. */
  boolean isLockedByOther(long at) {
    return lock(F_OFD_GETLK, WRITE_LOCK, at) == Answer.CONFLICT;
  }

  @Override
  public synchronized void close() {
    if (closed) {
      return;
    }
    closed = true;
    try {
      int ignored = (int) calls.close.invokeExact(fd);
    } catch (Throwable e) {
      LOG.warn("close failed", e);
    }
  }

  private enum Answer {
    FREE,
    CONFLICT,
    UNSUPPORTED
  }

  /** struct flock of 64-bit Linux: l_type, l_whence at 0 and 2; l_start, l_len at 8 and 16. */
  private Answer lock(int command, short type, long at) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment state = arena.allocate(calls.errnoLayout);
      MemorySegment flock = arena.allocate(32, 8);
      flock.set(ValueLayout.JAVA_SHORT, 0, type);
      flock.set(ValueLayout.JAVA_LONG, 8, at);
      flock.set(ValueLayout.JAVA_LONG, 16, 1L);
      int result = (int) calls.fcntl.invokeExact(state, fd, command, flock);
      if (result == 0) {
        boolean other = command == F_OFD_GETLK && flock.get(ValueLayout.JAVA_SHORT, 0) != UNLOCKED;
        return other ? Answer.CONFLICT : Answer.FREE;
      }
      int errno = errno(calls, state);
      // EAGAIN and EACCES mean a conflicting lock; all else, that there are no locks here.
      return errno == 11 || errno == 13 ? Answer.CONFLICT : Answer.UNSUPPORTED;
    } catch (Throwable e) {
      LOG.debug("fcntl failed", e);
      return Answer.UNSUPPORTED;
    }
  }

  private long seek(long from, int whence) throws IOException {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment state = arena.allocate(calls.errnoLayout);
      long at = (long) calls.lseek.invokeExact(state, fd, from, whence);
      if (at >= 0) {
        return at;
      }
      int errno = errno(calls, state);
      if (errno == ENXIO) {
        return -1;
      }
      throw new IOException("lseek failed, errno " + errno);
    } catch (IOException e) {
      throw e;
    } catch (Throwable e) {
      throw new IOException(e);
    }
  }

  private boolean allocate(int mode, long offset, long length) throws IOException {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment state = arena.allocate(calls.errnoLayout);
      while (true) {
        int result = (int) calls.fallocate.invokeExact(state, fd, mode, offset, length);
        if (result == 0) {
          return true;
        }
        int errno = errno(calls, state);
        if (errno == ENOSPC) {
          throw new IOException("No space left on device");
        }
        if (errno != EINTR) {
          return false;
        }
      }
    } catch (IOException e) {
      throw e;
    } catch (Throwable e) {
      throw new IOException(e);
    }
  }

  private static int errno(Calls calls, MemorySegment state) {
    return (int) calls.errno.get(state, 0L);
  }

  private static @Nullable Calls bind() {
    if (!System.getProperty("os.name", "").equals("Linux")
        || ValueLayout.ADDRESS.byteSize() != Long.BYTES) {
      return null;
    }
    try {
      Linker linker = Linker.nativeLinker();
      SymbolLookup libc = linker.defaultLookup();
      Linker.Option errno = Linker.Option.captureCallState("errno");
      MemoryLayout layout = Linker.Option.captureStateLayout();
      var i = ValueLayout.JAVA_INT;
      var l = ValueLayout.JAVA_LONG;
      var p = ValueLayout.ADDRESS;
      return new Calls(
          linker.downcallHandle(
              libc.findOrThrow("open"),
              FunctionDescriptor.of(i, p, i),
              errno,
              Linker.Option.firstVariadicArg(2)),
          linker.downcallHandle(libc.findOrThrow("close"), FunctionDescriptor.of(i, i)),
          linker.downcallHandle(
              libc.findOrThrow("lseek"), FunctionDescriptor.of(l, i, l, i), errno),
          linker.downcallHandle(
              libc.findOrThrow("fallocate"), FunctionDescriptor.of(i, i, i, l, l), errno),
          linker.downcallHandle(
              libc.findOrThrow("fcntl"),
              FunctionDescriptor.of(i, i, i, p),
              errno,
              Linker.Option.firstVariadicArg(2)),
          libc.find("statx")
              .map(statx ->
                  linker.downcallHandle(statx, FunctionDescriptor.of(i, i, p, i, i, p), errno)),
          libc.find("preadv2")
              .map(preadv2 ->
                  linker.downcallHandle(preadv2, FunctionDescriptor.of(l, i, p, i, l, i), errno)),
          layout,
          layout.varHandle(MemoryLayout.PathElement.groupElement("errno")));
    } catch (RuntimeException e) {
      LOG.info("no native file calls here ({}): holes are not seen, zeroes are written", e + "");
      return null;
    }
  }
}
