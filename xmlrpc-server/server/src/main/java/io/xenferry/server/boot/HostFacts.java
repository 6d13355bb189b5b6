package io.xenferry.server.boot;

import io.xenferry.server.config.ListenConfig;
import java.io.IOException;
import java.net.Inet4Address;
import java.net.InetAddress;
import java.net.InterfaceAddress;
import java.net.NetworkInterface;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/**
 * What this machine is like, as far as records tell of it.
 *
 * @param id eight hexadecimal digits, different for each state directory
 * @param cpuInfo as host.cpu_info holds it
 */
public record HostFacts(
    String id,
    long memoryBytes,
    int cpus,
    Map<String, String> cpuInfo,
    String device,
    String mac,
    String address,
    String netmask) {

  public static HostFacts of(ListenConfig listen, Path stateDirectory) throws IOException {
    Map<String, String> memory = colonFile(Path.of("/proc/meminfo"));
    InetAddress address = InetAddress.getByName(listen.address());
    if (address.isAnyLocalAddress()) {
      address = firstRoutable();
    }
    NetworkInterface nic = NetworkInterface.getByInetAddress(address);
    byte[] hardware = nic == null ? null : nic.getHardwareAddress();
    return new HostFacts(
        String.format("%08x", stateDirectory.toAbsolutePath().toString().hashCode()),
        number(memory.getOrDefault("MemTotal", "0")) * 1024,
        Runtime.getRuntime().availableProcessors(),
        cpuInfo(Path.of("/proc/cpuinfo"), Runtime.getRuntime().availableProcessors()),
        nic == null ? "eth0" : nic.getName(),
        hardware == null ? "00:00:00:00:00:00" : HexFormat.ofDelimiter(":").formatHex(hardware),
        address.getHostAddress(),
        nic == null ? "" : netmask(nic, address));
  }

  private static InetAddress firstRoutable() throws IOException {
    return NetworkInterface.networkInterfaces()
        .flatMap(NetworkInterface::inetAddresses)
        .filter(a -> a instanceof Inet4Address && !a.isLoopbackAddress() && !a.isLinkLocalAddress())
        .findFirst()
        .orElse(InetAddress.getLoopbackAddress());
  }

  private static String netmask(NetworkInterface nic, InetAddress address) {
    for (InterfaceAddress a : nic.getInterfaceAddresses()) {
      if (a.getAddress() instanceof Inet4Address && address instanceof Inet4Address) {
        int mask = a.getNetworkPrefixLength() == 0 ? 0 : -1 << (32 - a.getNetworkPrefixLength());
        return (mask >>> 24)
            + "."
            + (mask >>> 16 & 255)
            + "."
            + (mask >>> 8 & 255)
            + "."
            + (mask & 255);
      }
    }
    return "";
  }

  /** First value of each key, of a file with lines {@code key : value}; empty without the file. */
  private static Map<String, String> colonFile(Path file) throws IOException {
    Map<String, String> values = new LinkedHashMap<>();
    if (!Files.isReadable(file)) {
      return values;
    }
    List<String> lines = Files.readAllLines(file, StandardCharsets.ISO_8859_1);
    for (String line : lines) {
      int colon = line.indexOf(':');
      if (colon > 0) {
        values.putIfAbsent(line.substring(0, colon).strip(), line.substring(colon + 1).strip());
      }
    }
    return values;
  }

  private static long number(String text) {
    String digits = text.replaceAll("[^0-9].*", "");
    return digits.isEmpty() || digits.length() > 15 ? 0 : Long.parseLong(digits);
  }

  /** What the firmware tells of the machine, as the kernel shows it to everybody. */
  static final Path DMI = Path.of("/sys/class/dmi/id");

  /** As host.bios_strings holds it: nothing that only this one machine has. */
  static Map<String, String> biosStrings(Path dmi) {
    Map<String, String> strings = new LinkedHashMap<>();
    Map.of(
            "bios-vendor", "bios_vendor",
            "bios-version", "bios_version",
            "system-manufacturer", "sys_vendor",
            "system-product-name", "product_name",
            "system-version", "product_version",
            "baseboard-manufacturer", "board_vendor",
            "baseboard-product-name", "board_name")
        .forEach((key, file) -> {
          try {
            String text = Files.readString(dmi.resolve(file), StandardCharsets.ISO_8859_1).strip();
            if (text.matches("[ -~]{1,512}")) {
              strings.put(key, text);
            }
          } catch (IOException e) {
            // Not told, then.
          }
        });
    return strings;
  }

  /**
   * By the file in which Linux tells of its processors.
   *
   * @param cpus how many of them this process may use
   */
  static Map<String, String> cpuInfo(Path file, int cpus) throws IOException {
    Map<String, String> cpu = colonFile(file);
    long cores = Math.max(1, number(cpu.getOrDefault("cpu cores", "1")));
    long siblings = Math.max(1, number(cpu.getOrDefault("siblings", "1")));
    Map<String, String> info = new LinkedHashMap<>();
    info.put("cpu_count", Integer.toString(cpus));
    info.put("socket_count", Long.toString(Math.max(1, sockets(file))));
    info.put("threads_per_core", Long.toString(Math.max(1, siblings / cores)));
    info.put("vendor", cpu.getOrDefault("vendor_id", "unknown"));
    info.put("speed", Long.toString(number(cpu.getOrDefault("cpu MHz", "0"))));
    info.put("modelname", cpu.getOrDefault("model name", "unknown"));
    info.put("family", Long.toString(number(cpu.getOrDefault("cpu family", "0"))));
    info.put("model", Long.toString(number(cpu.getOrDefault("model", "0"))));
    info.put("stepping", cpu.getOrDefault("stepping", "unknown"));
    info.put("flags", cpu.getOrDefault("flags", ""));
    info.put("features", "");
    info.put("features_pv", "");
    info.put("features_hvm", "");
    return info;
  }

  private static long sockets(Path file) throws IOException {
    if (!Files.isReadable(file)) {
      return 0;
    }
    try (Stream<String> lines = Files.lines(file, StandardCharsets.ISO_8859_1)) {
      return lines.filter(line -> line.startsWith("physical id")).distinct().count();
    }
  }
}
