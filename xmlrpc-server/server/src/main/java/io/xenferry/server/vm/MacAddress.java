package io.xenferry.server.vm;

import java.security.SecureRandom;
import java.util.HexFormat;

/** Ethernet addresses of VIFs. */
public final class MacAddress {
  private static final SecureRandom RANDOM = new SecureRandom();

  private MacAddress() {}

  /** A new one, locally administered, unicast: {@code xx:xx:xx:xx:xx:xx}. */
  public static String random() {
    byte[] b = new byte[6];
    RANDOM.nextBytes(b);
    b[0] = (byte) ((b[0] & 0xFC) | 2);
    return HexFormat.ofDelimiter(":").formatHex(b);
  }
}
