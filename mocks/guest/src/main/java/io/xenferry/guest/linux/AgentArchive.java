package io.xenferry.guest.linux;

import java.io.BufferedOutputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/**
 * What the ramdisk of a guest with the QEMU guest agent has beside that of one without: Linux
 * unpacks archives that follow each other one over the other.
 */
final class AgentArchive {
  private static final List<String> LIBRARIES =
      List.of(
          "libc.so.6",
          "libm.so.6",
          "libglib-2.0.so.0",
          "libgmodule-2.0.so.0",
          "libpcre2-8.so.0",
          "libnuma.so.1",
          "libudev.so.1",
          "liburing.so.2");

  private static final String LOADER = "ld-linux-x86-64.so.2";

  private AgentArchive() {}

  /**
   * @param packages Debian's, unpacked
   * @param driver of virtio's serial ports
   */
  static byte[] make(Path packages, byte[] driver, byte[] start, byte[] release)
      throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (CpioArchive archive = new CpioArchive(new BufferedOutputStream(bytes))) {
      for (String directory : List.of("bin", "etc", "lib", "lib64", "modules", "sbin")) {
        archive.directory(directory);
      }
      archive.file("bin/agent", start);
      archive.file("etc/os-release", release);
      archive.file(
          "sbin/shutdown",
          "#!/bin/busybox sh\nexec poweroff -f\n".getBytes(StandardCharsets.US_ASCII));
      archive.file("modules/virtio_console.ko", driver);
      archive.file("bin/qemu-ga", found(packages, "qemu-ga"));
      archive.file("lib64/" + LOADER, found(packages, LOADER));
      for (String library : LIBRARIES) {
        archive.file("lib/" + library, found(packages, library));
      }
    }
    return bytes.toByteArray();
  }

  private static byte[] found(Path packages, String name) throws IOException {
    try (Stream<Path> files = Files.walk(packages)) {
      // A library's name is a link to the file; the loader's may lead out of the tree.
      Path file =
          files
              .filter(path -> String.valueOf(path.getFileName()).equals(name))
              .filter(Files::isRegularFile)
              .findFirst()
              .orElseThrow(() -> new IOException("no " + name + " in " + packages));
      return Files.readAllBytes(file);
    }
  }
}
