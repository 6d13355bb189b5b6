package io.xenferry.iscsi.initiator;

import static org.assertj.core.api.Assertions.assertThat;

import com.sun.management.ThreadMXBean;
import io.xenferry.block.MemoryBackend;
import io.xenferry.iscsi.IscsiUrl;
import io.xenferry.iscsi.embedded.EmbeddedTargetService;
import io.xenferry.iscsi.target.Acl;
import io.xenferry.iscsi.target.Export;
import io.xenferry.iscsi.target.FileExportJournal;
import java.lang.management.ManagementFactory;
import java.net.InetAddress;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * What a command costs in garbage once all is warm, on the thread that asks and the session's
 * together: the future that is handed out, the command with its CDB, a view of the data, the
 * response, and a link in the loop's queue. Nothing of it grows with the data.
 */
@Timeout(120)
class AllocationTest {
  private static final String IQN = "iqn.2026-01.io.xenferry:frugal";
  private static final int DEPTH = 16;
  private static final int COMMANDS = 20_000;

  /** Bytes; a codec that makes objects of headers takes some thousand. */
  private static final long MOST = 768;

  private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();

  @TempDir Path directory;

  @Test
  void aCommandLeavesLittleGarbage() throws Exception {
    EmbeddedTargetService service =
        new EmbeddedTargetService(
            EmbeddedTargetService.Settings.at(directory, InetAddress.getByName("127.0.0.1")),
            new FileExportJournal(directory.resolve("journal")));
    try {
      IscsiUrl url =
          service.open(
              new Export(
                  IQN,
                  1,
                  new Export.Backing.Device(new MemoryBackend("memory", 1 << 20)),
                  "frugal",
                  "frugal",
                  Optional.empty(),
                  new Acl.Everybody(),
                  true,
                  false));
      try (IscsiDisk disk = IscsiInitiator.connect(url, IscsiOptions.defaults())) {
        assertFrugal("write", () -> disk.write(0, buffer(4096)));
        assertFrugal("read", () -> disk.read(0, buffer(4096)));
        assertFrugal("write of 256 KiB", () -> disk.write(0, buffer(256 << 10)));
      }
    } finally {
      service.close();
    }
  }

  private static final ByteBuffer[] BUFFERS = {
    ByteBuffer.allocateDirect(4096), ByteBuffer.allocateDirect(256 << 10)
  };

  private static ByteBuffer buffer(int length) {
    return BUFFERS[length == 4096 ? 0 : 1].clear();
  }

  private interface Request {
    CompletableFuture<Void> go();
  }

  private static void assertFrugal(String what, Request request) {
    run(request, COMMANDS);
    long before = allocated();
    run(request, COMMANDS);
    long each = (allocated() - before) / COMMANDS;
    System.out.printf("%s: %d bytes of garbage each%n", what, each);
    assertThat(each).as("bytes of garbage of a %s", what).isBetween(1L, MOST);
  }

  /** With so many in flight; waits without parking, which would leave garbage of its own. */
  private static void run(Request request, int commands) {
    CompletableFuture<?>[] flying = new CompletableFuture<?>[DEPTH];
    for (int i = 0; i < commands + DEPTH; i++) {
      CompletableFuture<?> earlier = flying[i % DEPTH];
      while (earlier != null && !earlier.isDone()) {
        Thread.onSpinWait();
      }
      assertThatWell(earlier);
      flying[i % DEPTH] = i < commands ? request.go() : null;
    }
  }

  private static void assertThatWell(@org.jspecify.annotations.Nullable CompletableFuture<?> done) {
    if (done != null && done.isCompletedExceptionally()) {
      throw new AssertionError(done.exceptionNow());
    }
  }

  private static long allocated() {
    long all = THREADS.getThreadAllocatedBytes(Thread.currentThread().threadId());
    for (Thread thread : Thread.getAllStackTraces().keySet()) {
      if (thread.getName().contains(IQN)) {
        all += THREADS.getThreadAllocatedBytes(thread.threadId());
      }
    }
    return all;
  }
}
