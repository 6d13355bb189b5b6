package io.xenferry.spi;

import java.util.List;
import java.util.Map;

/**
 * What the agent in a guest says of it. The guest may lie, but only in what it says: numbers and
 * lengths are within the limits named here, and texts hold printable characters only.
 *
 * @param version of the agent, such as {@code 7.2.11}; empty when it does not say
 * @param system the operating system, by the names of {@link #NAME} and so on; what the agent does
 *     not know is left out
 * @param hostName empty when it does not say
 * @param interfaces {@value #INTERFACES} at most
 */
public record AgentReport(
    String version, Map<String, String> system, String hostName, List<Interface> interfaces) {

  /** Characters of each text at most. */
  public static final int TEXT = 255;

  public static final int INTERFACES = 128;

  /** For people: {@code Debian GNU/Linux 12 (bookworm)}. */
  public static final String NAME = "name";

  /** In one word: {@code debian}, {@code windows}. */
  public static final String DISTRO = "distro";

  /** The number before the first dot of the system's version. */
  public static final String MAJOR = "major";

  /** The one behind it. */
  public static final String MINOR = "minor";

  /** The kernel's release. */
  public static final String UNAME = "uname";

  /**
   * A network interface as the guest sees it.
   *
   * @param mac of lower-case hexadecimal digits, separated by colons
   * @param ipv4 in dotted decimal, {@value #ADDRESSES} at most
   * @param ipv6 RFC 4291, without a zone, lower case; {@value #ADDRESSES} at most
   */
  public record Interface(String mac, List<String> ipv4, List<String> ipv6) {
    public static final int ADDRESSES = 32;
  }
}
