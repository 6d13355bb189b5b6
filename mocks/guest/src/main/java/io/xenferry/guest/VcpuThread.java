package io.xenferry.guest;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;

/** A thread that stands for a processor: the kernel knows it, and it does nothing. */
final class VcpuThread {
  private final CompletableFuture<Long> id = new CompletableFuture<>();
  private final CountDownLatch end = new CountDownLatch(1);

  private VcpuThread() {}

  static VcpuThread start() {
    VcpuThread thread = new VcpuThread();
    Thread.ofPlatform().daemon().name("vcpu").start(thread::run);
    return thread;
  }

  private void run() {
    try {
      // PID/task/ID, proc(5)
      Path self = Files.readSymbolicLink(Path.of("/proc/thread-self"));
      id.complete(Long.parseLong(String.valueOf(self.getFileName())));
      end.await();
    } catch (IOException e) {
      id.completeExceptionally(new UncheckedIOException(e));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** By which the kernel knows it. */
  long id() {
    return id.join();
  }

  void end() {
    end.countDown();
  }
}
