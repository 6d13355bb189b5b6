package io.xenferry.qemu;

import io.xenferry.qemu.access.GuestUser;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.GuestSpec.Backend;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;

/**
 * What a guest's network card is connected to on this host. An interface for a bridge is QEMU's own
 * (it goes with the process, however that ends), and is put into the bridge once QEMU has made it.
 */
final class NicBackend {
  /** IFNAMSIZ is 16 with the end of the string. */
  private static final Pattern INTERFACE = Pattern.compile("[A-Za-z0-9_.-]{1,15}");

  private static final Path INTERFACES = Path.of("/sys/class/net");

  private static final Duration DEADLINE = Duration.ofSeconds(10);

  private NicBackend() {}

  /** The arguments of QMP's {@code netdev_add}. */
  static Map<String, Object> arguments(GuestSpec.Nic nic, GuestDirectory directory)
      throws HypervisorException {
    Map<String, Object> arguments = new LinkedHashMap<>();
    switch (nic.backend()) {
      case Backend.Isolated isolated -> {
        arguments.put("type", "user");
        arguments.put("restrict", true);
      }
      case Backend.User user -> arguments.put("type", "user");
      case Backend.Tap(String name) -> tap(arguments, checked(name));
      case Backend.Bridge(String name) -> {
        checked(name);
        tap(arguments, interfaceName(nic, directory));
      }
    }
    arguments.put("id", GuestLauncher.netdevName(nic.device()));
    return arguments;
  }

  private static void tap(Map<String, Object> arguments, String name) {
    arguments.put("type", "tap");
    arguments.put("ifname", name);
    // QEMU would run scripts as itself.
    arguments.put("script", "no");
    arguments.put("downscript", "no");
  }

  private static String checked(String name) throws HypervisorException {
    if (!INTERFACE.matcher(name).matches()) {
      throw new HypervisorException(Kind.REFUSED, name + " is no name of a network interface");
    }
    return name;
  }

  /** The interface of this host behind a card; none where the card is not on a network of it. */
  static Optional<String> interfaceOf(GuestSpec.Nic nic, GuestDirectory directory)
      throws HypervisorException {
    return switch (nic.backend()) {
      case Backend.Isolated isolated -> Optional.empty();
      case Backend.User user -> Optional.empty();
      case Backend.Tap(String name) -> Optional.of(checked(name));
      case Backend.Bridge bridge -> Optional.of(interfaceName(nic, directory));
    };
  }

  /** Of this guest on this host alone: source and destination may be one machine. */
  private static String interfaceName(GuestSpec.Nic nic, GuestDirectory directory)
      throws HypervisorException {
    try {
      byte[] hash =
          MessageDigest.getInstance("SHA-256")
              .digest(directory.path().toString().getBytes(StandardCharsets.UTF_8));
      return "xf" + HexFormat.of().formatHex(hash, 0, 5) + "." + nic.device();
    } catch (NoSuchAlgorithmException e) {
      throw new HypervisorException(Kind.REFUSED, "this JVM has no SHA-256", e);
    }
  }

  /**
   * Makes the interface for a bridge beforehand where QEMU may not, as its user's.
   *
   * @param user as whom QEMU runs; empty for the server's own
   */
  static void prepare(GuestSpec.Nic nic, GuestDirectory directory, Optional<GuestUser> user)
      throws HypervisorException, InterruptedException {
    if (user.isPresent() && nic.backend() instanceof Backend.Bridge) {
      // Of a guest that ended when nobody looked.
      release(nic, directory, user);
      String uid = Integer.toString(user.get().uid());
      ip(
          List.of(
              "ip",
              "tuntap",
              "add",
              "dev",
              interfaceName(nic, directory),
              "mode",
              "tap",
              "user",
              uid,
              "vnet_hdr"));
    }
  }

  /** Removes what {@link #prepare} has made, if it is there. */
  static void release(GuestSpec.Nic nic, GuestDirectory directory, Optional<GuestUser> user)
      throws HypervisorException, InterruptedException {
    if (user.isPresent() && nic.backend() instanceof Backend.Bridge) {
      String name = interfaceName(nic, directory);
      if (Files.exists(INTERFACES.resolve(name))) {
        ip(List.of("ip", "link", "delete", "dev", name));
      }
    }
  }

  /** Puts a card's interface into its bridge, where it is to be in one; QEMU has started. */
  static void connect(GuestSpec.Nic nic, GuestDirectory directory)
      throws HypervisorException, InterruptedException {
    if (nic.backend() instanceof Backend.Bridge(String bridge)) {
      String name = interfaceName(nic, directory);
      ip(List.of("ip", "link", "set", "dev", name, "master", bridge));
      ip(List.of("ip", "link", "set", "dev", name, "up"));
    }
  }

  private static void ip(List<String> command) throws HypervisorException, InterruptedException {
    try {
      Process process =
          new ProcessBuilder(command)
              .redirectErrorStream(true)
              .redirectInput(ProcessBuilder.Redirect.from(new java.io.File("/dev/null")))
              .start();
      try {
        if (!process.waitFor(DEADLINE.toMillis(), TimeUnit.MILLISECONDS)) {
          throw new HypervisorException(
              Kind.TIMEOUT, String.join(" ", command) + " did not end within " + DEADLINE);
        }
        if (process.exitValue() != 0) {
          // Some words; what ip(8) has to say fits a pipe.
          String words =
              new String(process.getInputStream().readNBytes(600), StandardCharsets.UTF_8).strip();
          throw new HypervisorException(
              Kind.REFUSED, String.join(" ", command) + " failed: " + words);
        }
      } finally {
        process.destroyForcibly();
      }
    } catch (IOException e) {
      throw new HypervisorException(Kind.REFUSED, "cannot run ip(8)", e);
    }
  }
}
