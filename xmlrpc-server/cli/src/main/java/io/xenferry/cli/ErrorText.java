package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/** Failures as sentences: one for each code of the data model, and the names of its parameters. */
final class ErrorText {
  /** Words that stay as they are when a sentence is made of a code. */
  private static final Set<String> UPPER =
      Set.of(
          "VM", "VMS", "VDI", "VBD", "VIF", "PIF", "PIFS", "SR", "SRS", "PBD", "PBDS", "HA", "WLB",
          "TLS", "SSL", "SSH", "NTP", "MAC", "VLAN", "GPU", "VGPU", "PGPU", "USB", "VUSB", "PUSB",
          "PVS", "CD", "CDS", "IP", "CPU", "PCPUS", "VCPUS", "VCPU", "PCI", "UUID", "XAPI", "SM",
          "IGMP", "SRIOV", "RBAC", "CBT", "RRDS", "ISO", "HVM", "PV", "BIOS", "CRL", "CA", "GPG",
          "OEM", "IOMMU", "VTPM", "VMSS", "VMPP", "XML", "URL", "NIC", "API", "DB", "LDAPS", "FIPS",
          "IO", "ID", "CIDR", "FCOE", "VSS", "NVIDIA", "OU", "RSA");

  /** Classes in which an object that an error names may be found, the likely ones first. */
  private static final List<String> CLASSES =
      List.of("VM", "VDI", "SR", "host", "VBD", "VIF", "network", "PIF", "PBD", "task", "pool");

  private static final Set<String> NAMED =
      Set.of("VM", "VDI", "SR", "host", "network", "task", "pool");

  /** Codes that name a server, and not what is wrong with it. */
  private static final Set<String> UNREACHABLE =
      Set.of("CANNOT_CONTACT_HOST", "TLS_CONNECTION_FAILED");

  /** Parsers quote what they could not read: nobody needs all of it. */
  private static final int REASON_LIMIT = 300;

  // After UPPER, which load() reads.
  private static final Map<String, Known> KNOWN = load();

  private ErrorText() {}

  private record Known(List<String> params, String sentence) {}

  private static Map<String, Known> load() {
    Map<String, Known> known = new HashMap<>();
    for (String line : RecordClass.Resources.lines("errors.txt")) {
      String[] parts = line.split("\\|", 3);
      known.put(
          parts[0],
          new Known(
              parts[1].isEmpty() ? List.of() : List.of(parts[1].split(",")),
              parts[2].isEmpty() ? fromCode(parts[0]) : parts[2]));
    }
    return known;
  }

  /** Whether the code has a sentence. */
  static boolean documented(String code) {
    return KNOWN.containsKey(code);
  }

  static String sentence(String code) {
    Known known = KNOWN.get(code);
    return known == null ? code : known.sentence();
  }

  /** The words of a code as a sentence. */
  static String fromCode(String code) {
    List<String> words = new ArrayList<>();
    for (String word : code.split("_")) {
      words.add(UPPER.contains(word) ? word : word.toLowerCase(Locale.ROOT));
    }
    String text = String.join(" ", words);
    return Character.toUpperCase(text.charAt(0)) + text.substring(1) + ".";
  }

  /** Sentence and parameters, a line each; a code without a sentence stands for itself. */
  static String lines(Calls calls, XenApiException failure) {
    return lines(Optional.of(calls), failure);
  }

  /** The same, where objects can be looked up only if there is a session. */
  static String lines(Optional<Calls> calls, XenApiException failure) {
    StringBuilder text = new StringBuilder(sentence(failure.code())).append('\n');
    Known known = KNOWN.get(failure.code());
    List<String> names = known == null ? List.of() : known.params();
    boolean vms = failure.code().equals("VMS_FAILED_TO_COOPERATE");
    for (int i = 0; i < Math.max(names.size(), failure.params().size()); i++) {
      String name = vms ? "VM" : i < names.size() ? names.get(i) : "<extra>";
      String value =
          i < failure.params().size() ? shown(calls, failure.params().get(i)) : "<unknown>";
      text.append(name).append(": ").append(value).append('\n');
    }
    reason(failure).ifPresent(r -> text.append("reason: ").append(r).append('\n'));
    return text.toString();
  }

  /** Why another server could not be reached or trusted, which these codes have no room for. */
  private static Optional<String> reason(XenApiException failure) {
    Throwable cause = failure.getCause();
    if (cause == null || !UNREACHABLE.contains(failure.code())) {
      return Optional.empty();
    }
    String message = cause.getMessage();
    String text = message == null ? cause.getClass().getSimpleName() : message;
    return Optional.of(text.length() > REASON_LIMIT ? text.substring(0, REASON_LIMIT) : text);
  }

  /** A reference as uuid and name, if its object can be found. */
  private static String shown(Optional<Calls> calls, String value) {
    if (calls.isEmpty() || !value.startsWith("OpaqueRef:") || value.equals(Calls.NULL)) {
      return value;
    }
    for (String className : CLASSES) {
      try {
        String uuid = calls.get().uuid(className, value);
        return NAMED.contains(className)
            ? "%s (%s)"
                .formatted(uuid, calls.get().text(className + ".get_name_label", Value.of(value)))
            : uuid;
      } catch (XenApiException | IllegalArgumentException e) {
        // Not of this class, or not readable: the next one, and in the end the reference itself.
      }
    }
    return value;
  }
}
