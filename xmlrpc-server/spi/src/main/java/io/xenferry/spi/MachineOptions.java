package io.xenferry.spi;

import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;

/**
 * What a VM's platform map makes unlike the usual machine, by the keys that published servers have
 * for it. Decided at each start of the VM. A machine that runs, or whose memory is kept, must be
 * built alike elsewhere whatever has been set meanwhile: so these go with the guest, and the map is
 * not asked again before its next start.
 *
 * @param unusual by key, in one form each: {@code off} and {@code on}, a card's name, MiB. What is
 *     not there is as in the usual machine, so that a guest of which nothing is known has that
 */
public record MachineOptions(Map<String, String> unusual) {
  /** What a machine is of which nothing is said. */
  public static final MachineOptions USUAL = new MachineOptions(Map.of());

  public static final String ACPI = "acpi";
  public static final String ACPI_S3 = "acpi_s3";
  public static final String ACPI_S4 = "acpi_s4";
  public static final String HPET = "hpet";
  public static final String NX = "nx";
  public static final String PAE = "pae";
  public static final String NIC = "nic_type";
  public static final String TABLET = "usb_tablet";
  public static final String VGA = "vga";
  public static final String VIDEO_RAM = "videoram";

  private static final String USB = "usb";
  private static final String CIRRUS = "cirrus";
  private static final String USUAL_VGA = "std";

  /** There unless they say no. */
  private static final List<String> USUALLY_ON = List.of(ACPI, ACPI_S3, ACPI_S4, HPET, NX, PAE);

  private static final Set<String> CARDS = Set.of("e1000", "rtl8139");

  /** MiB that the display adapter has, and the most it can have: so much more has a screen. */
  private static final int USUAL_VIDEO = 16;

  private static final int MOST_VIDEO = 64;

  /** The card has 4 MiB at least, and no use for more than the usual one. */
  private static final int LEAST_CIRRUS = 4;

  public MachineOptions {
    unusual = Map.copyOf(unusual);
  }

  /**
   * Those of a machine that is started now.
   *
   * @throws HypervisorException INVALID_VALUE for a card or size that no machine can have, naming
   *     the key. A switch that is neither {@code true}, {@code 1}, {@code false} nor {@code 0} is
   *     as if it were not there, as published servers read it
   */
  public static MachineOptions of(Map<String, String> platform) throws HypervisorException {
    Map<String, String> unusual = new TreeMap<>();
    for (String key : USUALLY_ON) {
      if (!is(platform, key, true)) {
        unusual.put(key, "off");
      }
    }
    if (is(platform, TABLET, false) && is(platform, USB, true)) {
      unusual.put(TABLET, "on");
    }
    String card = platform.getOrDefault(NIC, "");
    if (CARDS.contains(card)) {
      unusual.put(NIC, card);
    } else if (!card.isEmpty()) {
      throw invalid(NIC, card, "is none of e1000, rtl8139");
    }
    video(platform, unusual);
    return new MachineOptions(unusual);
  }

  private static boolean is(Map<String, String> platform, String key, boolean otherwise) {
    return switch (platform.getOrDefault(key, "")) {
      case "true", "1" -> true;
      case "false", "0" -> false;
      default -> otherwise;
    };
  }

  private static void video(Map<String, String> platform, Map<String, String> unusual)
      throws HypervisorException {
    String card = platform.getOrDefault(VGA, "");
    boolean cirrus = card.equals(CIRRUS);
    if (!cirrus && !card.isEmpty() && !card.equals(USUAL_VGA)) {
      throw invalid(VGA, card, "is none of std, cirrus");
    }
    if (cirrus) {
      unusual.put(VGA, card);
    }
    String text = platform.getOrDefault(VIDEO_RAM, "");
    int wanted = text.matches("\\d{1,3}") ? Integer.parseInt(text) : 0;
    int most = cirrus ? USUAL_VIDEO : MOST_VIDEO;
    if (!text.isEmpty() && (wanted < 1 || wanted > most)) {
      throw invalid(VIDEO_RAM, text, "is not between 1 and " + most + " MiB");
    }
    if (!text.isEmpty()) {
      int whole = wanted == 1 ? 1 : Integer.highestOneBit(wanted - 1) << 1;
      int size = cirrus ? Math.max(whole, LEAST_CIRRUS) : whole;
      if (size != USUAL_VIDEO) {
        unusual.put(VIDEO_RAM, Integer.toString(size));
      }
    }
  }

  /** In one line that {@link #parse} reads; empty for the usual machine. */
  public String text() {
    return new TreeMap<>(unusual)
        .entrySet().stream()
            .map(option -> option.getKey() + "=" + option.getValue())
            .collect(Collectors.joining(","));
  }

  /**
   * @throws IllegalArgumentException for what {@link #text} does not write, such as that of a later
   *     server, which knows more
   */
  public static MachineOptions parse(String text) {
    if (text.isEmpty()) {
      return USUAL;
    }
    Map<String, String> unusual = new TreeMap<>();
    Map<String, String> platform = new TreeMap<>();
    for (String option : text.split(",", -1)) {
      int sign = Math.max(0, option.indexOf('='));
      String key = option.substring(0, sign);
      String value = option.substring(Math.min(sign + 1, option.length()));
      unusual.put(key, value);
      platform.put(key, value.equals("off") ? "false" : value.equals("on") ? "true" : value);
    }
    MachineOptions options = new MachineOptions(unusual);
    try {
      // As if somebody had set it: so it says nothing that cannot be set.
      if (!of(platform).equals(options) || !options.text().equals(text)) {
        throw new IllegalArgumentException("this server builds no such machine: " + text);
      }
    } catch (HypervisorException e) {
      throw new IllegalArgumentException("this server builds no such machine: " + text, e);
    }
    return options;
  }

  /** Whether a switch that is usually on is not. */
  public boolean isOff(String key) {
    return "off".equals(unusual.get(key));
  }

  /** Whether a switch that is usually off is not. */
  public boolean isOn(String key) {
    return "on".equals(unusual.get(key));
  }

  /** QEMU's and everybody's name of the network cards, one for all of a guest; or a given one. */
  public String nic(String otherwise) {
    return unusual.getOrDefault(NIC, otherwise);
  }

  /** Whether the display adapter is that card. */
  public boolean isCirrus() {
    return CIRRUS.equals(unusual.get(VGA));
  }

  /** Memory of the display adapter, in MiB. */
  public int videoMemory() {
    return Integer.parseInt(unusual.getOrDefault(VIDEO_RAM, Integer.toString(USUAL_VIDEO)));
  }

  private static HypervisorException invalid(String key, String value, String reason) {
    return HypervisorException.invalid("platform:" + key, value, reason);
  }
}
