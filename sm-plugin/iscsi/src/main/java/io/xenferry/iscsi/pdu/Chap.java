package io.xenferry.iscsi.pdu;

import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.security.SecureRandom;
import java.util.Base64;
import java.util.HexFormat;
import java.util.Locale;

/** CHAP with MD5 as iSCSI uses it (RFC 1994, RFC 7143 section 12.1.3). */
public final class Chap {
  /** CHAP_A of MD5. */
  public static final String MD5 = "5";

  private static final SecureRandom RANDOM = new SecureRandom();
  private static final int MAX_CHALLENGE = 1024;

  private Chap() {}

  /** MD5 over identifier, secret and challenge. */
  public static byte[] response(int id, String secret, byte[] challenge) {
    try {
      MessageDigest md5 = MessageDigest.getInstance("MD5");
      md5.update((byte) id);
      md5.update(secret.getBytes(StandardCharsets.UTF_8));
      return md5.digest(challenge);
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("a Java platform without MD5", e);
    }
  }

  public static boolean matches(byte[] expected, byte[] given) {
    return MessageDigest.isEqual(expected, given);
  }

  public static byte[] newChallenge() {
    byte[] challenge = new byte[16];
    RANDOM.nextBytes(challenge);
    return challenge;
  }

  public static int newIdentifier() {
    return RANDOM.nextInt(256);
  }

  public static String hex(byte[] bytes) {
    return "0x" + HexFormat.of().formatHex(bytes);
  }

  /** A binary value in hexadecimal (0x…) or Base64 (0b…). */
  public static byte[] binary(String text) throws ProtocolException {
    if (text.length() > 2 * MAX_CHALLENGE + 2) {
      throw new ProtocolException("binary value of " + text.length() + " characters");
    }
    String lower = text.toLowerCase(Locale.ROOT);
    try {
      if (lower.startsWith("0x")) {
        String digits = lower.substring(2);
        return HexFormat.of().parseHex(digits.length() % 2 == 0 ? digits : "0" + digits);
      }
      if (lower.startsWith("0b")) {
        return Base64.getDecoder().decode(text.substring(2));
      }
      if (!lower.isEmpty() && lower.chars().allMatch(Character::isDigit) && lower.length() < 20) {
        return new BigInteger(lower).toByteArray();
      }
    } catch (IllegalArgumentException e) {
      throw new ProtocolException("malformed binary value", e);
    }
    throw new ProtocolException("binary value without 0x or 0b");
  }
}
