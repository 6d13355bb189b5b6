package io.xenferry.server.messages;

import io.xenferry.model.XenApiException;
import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/** What the host's kernel has said, by dmesg(1): blocking, 10 s at most. */
final class KernelLog {
  /** More than kernels keep. */
  private static final int LIMIT = 16 << 20;

  /** Bytes that are answered: the last ones. */
  private static final int TOLD = 1 << 20;

  private static final long SECONDS = 10;

  private KernelLog() {}

  /**
   * @throws XenApiException OPERATION_NOT_ALLOWED where the kernel does not tell it, as to a server
   *     that is not root, or nothing here can ask
   */
  static String read() throws XenApiException {
    try {
      Process process =
          new ProcessBuilder("dmesg")
              .redirectErrorStream(true)
              .redirectInput(ProcessBuilder.Redirect.from(new File("/dev/null")))
              .start();
      CompletableFuture.delayedExecutor(SECONDS, TimeUnit.SECONDS)
          .execute(process::destroyForcibly);
      try {
        byte[] said = process.getInputStream().readNBytes(LIMIT);
        int length = Math.min(said.length, TOLD);
        String text = new String(said, said.length - length, length, StandardCharsets.UTF_8);
        if (process.waitFor() != 0) {
          throw refused(text.strip());
        }
        return text;
      } finally {
        process.destroyForcibly();
      }
    } catch (IOException e) {
      throw refused(String.valueOf(e.getMessage())).withCause(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new XenApiException("INTERNAL_ERROR", "interrupted").withCause(e);
    }
  }

  private static XenApiException refused(String words) {
    return new XenApiException("OPERATION_NOT_ALLOWED", "dmesg: " + words);
  }
}
