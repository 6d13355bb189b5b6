package io.xenferry.qemu.agent;

import io.xenferry.spi.AgentReport;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Makes texts of a guest harmless for records, logs, terminals and XML. */
final class AgentText {
  private static final Pattern MAC = Pattern.compile("([0-9a-f]{2}:){5}[0-9a-f]{2}");
  private static final Pattern IPV4 =
      Pattern.compile("((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(\\.(?!$)|$)){4}");
  private static final Pattern IPV6 = Pattern.compile("[0-9a-f:]{2,39}(\\.[0-9.]{1,13})?");
  private static final int GROUPS = 8;

  /** Up to three numbers with dots between them at the beginning. */
  private static final Pattern NUMBERS =
      Pattern.compile("([0-9]{1,9})(?:\\.([0-9]{1,9}))?(?:\\.([0-9]{1,9}))?.*");

  private AgentText() {}

  /** What of it can be printed in one line, {@value AgentReport#TEXT} characters at most. */
  static String printable(String text) {
    StringBuilder kept = new StringBuilder();
    // More than that is not worth looking at.
    text.codePoints()
        .limit(4L * AgentReport.TEXT)
        .filter(AgentText::isPrintable)
        .limit(AgentReport.TEXT)
        .forEach(kept::appendCodePoint);
    return kept.toString().strip();
  }

  private static boolean isPrintable(int codePoint) {
    return switch (Character.getType(codePoint)) {
      // FORMAT holds what turns the direction of writing round.
      case Character.CONTROL,
          Character.FORMAT,
          Character.SURROGATE,
          Character.PRIVATE_USE,
          Character.UNASSIGNED,
          Character.LINE_SEPARATOR,
          Character.PARAGRAPH_SEPARATOR ->
          false;
      default -> true;
    };
  }

  /** Up to three numbers of a version: {@code 7.2.11} gives 7, 2 and 11, {@code ten} none. */
  static List<String> numbers(String version) {
    Matcher matcher = NUMBERS.matcher(version);
    if (!matcher.matches()) {
      return List.of();
    }
    return java.util.stream.IntStream.rangeClosed(1, 3)
        .mapToObj(group -> Optional.ofNullable(matcher.group(group)))
        .flatMap(Optional::stream)
        .toList();
  }

  static Optional<String> mac(String text) {
    String lower = text.length() == 17 ? text.toLowerCase(Locale.ROOT) : "";
    return MAC.matcher(lower).matches() ? Optional.of(lower) : Optional.empty();
  }

  static Optional<String> ipv4(String text) {
    return text.length() <= 15 && IPV4.matcher(text).matches()
        ? Optional.of(text)
        : Optional.empty();
  }

  /** RFC 4291, section 2.2; a zone behind it is none of the address. */
  static Optional<String> ipv6(String text) {
    if (text.length() > 64) {
      return Optional.empty();
    }
    int zone = text.indexOf('%');
    String address = (zone < 0 ? text : text.substring(0, zone)).toLowerCase(Locale.ROOT);
    return IPV6.matcher(address).matches() && isIpv6(address)
        ? Optional.of(address)
        : Optional.empty();
  }

  private static boolean isIpv6(String address) {
    String groups = address;
    int dot = address.indexOf('.');
    if (dot >= 0) {
      int last = address.lastIndexOf(':', dot);
      if (last < 0 || ipv4(address.substring(last + 1)).isEmpty()) {
        return false;
      }
      // As long as two groups.
      groups = address.substring(0, last + 1) + "0:0";
    }
    int gap = groups.indexOf("::");
    if (gap != groups.lastIndexOf("::")) {
      return false;
    }
    if (gap < 0) {
      return groups(groups) == GROUPS;
    }
    int before = groups(groups.substring(0, gap));
    int after = groups(groups.substring(gap + 2));
    return before >= 0 && after >= 0 && before + after < GROUPS;
  }

  /** How many groups there are, -1 when one is none. */
  private static int groups(String text) {
    if (text.isEmpty()) {
      return 0;
    }
    String[] groups = text.split(":", -1);
    for (String group : groups) {
      if (group.isEmpty() || group.length() > 4) {
        return -1;
      }
    }
    return groups.length;
  }
}
