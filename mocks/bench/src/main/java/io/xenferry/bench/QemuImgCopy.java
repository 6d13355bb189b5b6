package io.xenferry.bench;

import io.xenferry.bench.TestLun.Timed;
import io.xenferry.bench.command.Tools;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** The peer: {@code qemu-img convert} as fast as it goes, and with its flush at the end. */
final class QemuImgCopy {
  private static final int DEADLINE_MINUTES = 10;

  private QemuImgCopy() {}

  static boolean installed() {
    if (Tools.find("qemu-img").isEmpty()) {
      return false;
    }
    try {
      Process help = new ProcessBuilder("qemu-img", "--help").redirectErrorStream(true).start();
      String text = new String(help.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      return help.waitFor(10, TimeUnit.SECONDS) && text.contains(" iscsi");
    } catch (IOException e) {
      return false;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return false;
    }
  }

  /** {@code -t writeback}, since its default leaves out the flush. */
  static Timed copy(Path source, TestLun lun) throws IOException, InterruptedException {
    long began = System.nanoTime();
    Process process =
        new ProcessBuilder(
                List.of(
                    "qemu-img",
                    "convert",
                    "-n",
                    "-W",
                    "-m",
                    "16",
                    "-t",
                    "writeback",
                    "-f",
                    "raw",
                    "-O",
                    "raw",
                    source.toString(),
                    lun.url().text()))
            .redirectErrorStream(true)
            .start();
    try {
      String output =
          new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
      if (!process.waitFor(DEADLINE_MINUTES, TimeUnit.MINUTES) || process.exitValue() != 0) {
        throw new IOException("qemu-img failed: " + output);
      }
      return new Timed((System.nanoTime() - began) / 1e9, "qemu-img", 0);
    } finally {
      process.destroyForcibly();
    }
  }
}
