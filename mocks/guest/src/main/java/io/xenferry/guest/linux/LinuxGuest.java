package io.xenferry.guest.linux;

import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/**
 * The kernel and the ramdisk of the test guest. Made once, and kept in the user's cache, from
 * Debian's packages as {@code ./xenferry} unpacks them there ({@code guest-packages}), and from
 * {@code writer.c}, compiled with gcc.
 *
 * @param kernel uncompressed where possible
 * @param ramdisk with the drivers for QEMU's devices
 */
public record LinuxGuest(Path kernel, Path ramdisk) {
  private static final String RESOURCES = "/io/xenferry/guest/linux/";
  private static final long COMPILE_SECONDS = 120;

  /** In the order in which they have to be loaded. */
  private static final List<String> DRIVERS =
      List.of(
          "virtio_ring",
          "virtio",
          "virtio_pci_modern_dev",
          "virtio_pci_legacy_dev",
          "virtio_pci",
          "virtio_blk",
          "failover",
          "net_failover",
          "virtio_net",
          "virtio_balloon",
          "virtio-rng",
          "button",
          "evdev");

  /** For PV_args: the console is the first serial port. */
  public static final String ARGUMENTS = "console=ttyS0 quiet panic=-1";

  /** The platform keys that give the guest its second serial port, for the heartbeat. */
  public static final String SERIAL_PORTS = "2";

  /** Where what was made, and what it is made from, is kept. */
  static Path cache() {
    String cache = System.getenv("XDG_CACHE_HOME");
    Path base =
        cache == null || cache.isEmpty()
            ? Path.of(System.getProperty("user.home", "/"), ".cache")
            : Path.of(cache);
    return base.resolve("xenferry");
  }

  /** What is missing to make the guest; empty when it can be made. */
  public static Optional<String> missing() {
    Path packages = cache().resolve("guest-packages");
    if (!Files.exists(packages.resolve("complete"))) {
      return Optional.of(
          "Debian's kernel and busybox in " + packages + " (./xenferry test fetches them)");
    }
    return Files.isExecutable(Path.of("/usr/bin/gcc"))
        ? Optional.empty()
        : Optional.of("gcc and the C library's static form (packages gcc and libc6-dev)");
  }

  /**
   * Makes the guest, or finds it made.
   *
   * @throws IOException when something is missing, see {@link #missing}, or cannot be compiled
   */
  public static LinuxGuest prepare() throws IOException, InterruptedException {
    Optional<String> missing = missing();
    if (missing.isPresent()) {
      throw new IOException("the Linux guest needs " + missing.get());
    }
    Path packages = cache().resolve("guest-packages");
    Path image = kernelImage(packages.resolve("boot"));
    byte[] writer = resource("writer.c");
    byte[] init = resource("init");
    Path made = cache().resolve("guest-" + identity(image, writer, init));
    if (!Files.isDirectory(made)) {
      make(packages, image, writer, init, made);
    }
    return new LinuxGuest(made.resolve("vmlinux"), made.resolve("initrd"));
  }

  /** What is missing to give the guest the QEMU guest agent; empty when it can be made. */
  public static Optional<String> agentMissing() {
    Path packages = cache().resolve("guest-agent-packages");
    return Files.exists(packages.resolve("complete"))
        ? missing()
        : Optional.of("Debian's qemu-guest-agent in " + packages + " (./xenferry test fetches it)");
  }

  /**
   * The same guest with the QEMU guest agent, and the address 192.0.2.10 on its first network card.
   *
   * @throws IOException when something is missing, see {@link #agentMissing}
   */
  public LinuxGuest withAgent() throws IOException {
    Optional<String> missing = agentMissing();
    if (missing.isPresent()) {
      throw new IOException("the guest's agent needs " + missing.get());
    }
    byte[] driver =
        Files.readAllBytes(
            driver(cache().resolve("guest-packages").resolve("lib/modules"), "virtio_console"));
    byte[] archive =
        AgentArchive.make(
            cache().resolve("guest-agent-packages"),
            driver,
            resource("agent"),
            resource("os-release"));
    Path both = ramdisk.resolveSibling("initrd-agent-" + digest(List.of(archive)).substring(0, 16));
    if (!Files.exists(both)) {
      Path draft = Files.createTempFile(cache(), "draft-", "");
      try (OutputStream out = Files.newOutputStream(draft)) {
        Files.copy(ramdisk, out);
        out.write(archive);
      }
      Files.move(draft, both, StandardCopyOption.ATOMIC_MOVE);
    }
    return new LinuxGuest(kernel, both);
  }

  private static Path kernelImage(Path boot) throws IOException {
    try (Stream<Path> files = Files.list(boot)) {
      return files
          .filter(file -> String.valueOf(file.getFileName()).startsWith("vmlinuz-"))
          .findFirst()
          .orElseThrow(() -> new IOException("no kernel in " + boot));
    }
  }

  private static byte[] resource(String name) throws IOException {
    try (InputStream in = LinuxGuest.class.getResourceAsStream(RESOURCES + name)) {
      if (in == null) {
        throw new IOException(name + " is missing from the program");
      }
      return in.readAllBytes();
    }
  }

  /** Other inputs make another guest. */
  private static String identity(Path image, byte[] writer, byte[] init) {
    return digest(
            List.of(
                String.valueOf(image.getFileName()).getBytes(StandardCharsets.UTF_8),
                String.join(" ", DRIVERS).getBytes(StandardCharsets.UTF_8),
                writer,
                init))
        .substring(0, 16);
  }

  private static String digest(List<byte[]> parts) {
    try {
      MessageDigest digest = MessageDigest.getInstance("SHA-256");
      parts.forEach(digest::update);
      return HexFormat.of().formatHex(digest.digest());
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every JVM has SHA-256", e);
    }
  }

  private static void make(Path packages, Path image, byte[] writer, byte[] init, Path made)
      throws IOException, InterruptedException {
    Path draft = Files.createTempDirectory(cache(), "draft-");
    byte[] compressed = Files.readAllBytes(image);
    Files.write(draft.resolve("vmlinux"), KernelImage.uncompressed(compressed).orElse(compressed));
    byte[] program = compile(writer, draft);
    try (CpioArchive archive =
        new CpioArchive(new BufferedOutputStream(Files.newOutputStream(draft.resolve("initrd"))))) {
      for (String directory : List.of("bin", "dev", "modules")) {
        archive.directory(directory);
      }
      archive.file("init", init);
      archive.file("bin/busybox", Files.readAllBytes(packages.resolve("bin/busybox")));
      archive.file("bin/writer", program);
      for (String driver : DRIVERS) {
        archive.file(
            "modules/" + driver + ".ko",
            Files.readAllBytes(driver(packages.resolve("lib/modules"), driver)));
      }
      archive.file(
          "modules/order", (String.join("\n", DRIVERS) + "\n").getBytes(StandardCharsets.UTF_8));
    }
    try {
      Files.move(draft, made, StandardCopyOption.ATOMIC_MOVE);
    } catch (FileAlreadyExistsException | java.nio.file.DirectoryNotEmptyException e) {
      // Another process was quicker, with the same inputs.
      for (String file : List.of("vmlinux", "initrd", "writer", "writer.c")) {
        Files.deleteIfExists(draft.resolve(file));
      }
      Files.delete(draft);
    }
  }

  private static Path driver(Path modules, String name) throws IOException {
    try (Stream<Path> files = Files.walk(modules)) {
      return files
          .filter(file -> String.valueOf(file.getFileName()).equals(name + ".ko"))
          .findFirst()
          .orElseThrow(() -> new IOException("the kernel has no driver " + name));
    }
  }

  private static byte[] compile(byte[] source, Path directory)
      throws IOException, InterruptedException {
    Path file = Files.write(directory.resolve("writer.c"), source);
    Path program = directory.resolve("writer");
    Process gcc =
        new ProcessBuilder(
                "/usr/bin/gcc",
                "-static",
                "-O2",
                "-s",
                "-Wall",
                "-o",
                program.toString(),
                file.toString())
            .redirectErrorStream(true)
            .redirectOutput(directory.resolve("gcc.log").toFile())
            .start();
    if (!gcc.waitFor(COMPILE_SECONDS, TimeUnit.SECONDS)) {
      gcc.destroyForcibly();
      throw new IOException("gcc does not end");
    }
    String words = Files.readString(directory.resolve("gcc.log"));
    if (gcc.exitValue() != 0) {
      throw new IOException("the guest's writer cannot be compiled: " + words);
    }
    return Files.readAllBytes(program);
  }
}
