package io.xenferry.migration.peer;

import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.Base64;
import java.util.HexFormat;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/** What follows from a migration's key: message authentication, HMAC-SHA256 in lower-case hex. */
public final class Keys {
  /** RFC 7143 section 9.2.1 asks for at least 96 bits. */
  private static final int SECRET_BYTES = 12;

  private Keys() {}

  /**
   * The secret of an account: the same each time, so that it needs to be kept nowhere and a server
   * that is started anew has it again.
   *
   * @param key of the migration, in hex
   * @return 16 letters, digits, hyphens and underscores
   */
  public static String secret(String key, String account) {
    byte[] all = hmac(HexFormat.of().parseHex(key), utf8("account"), utf8(account));
    return Base64.getUrlEncoder().withoutPadding().encodeToString(Arrays.copyOf(all, SECRET_BYTES));
  }

  static byte[] hmac(byte[] key, byte[]... parts) {
    try {
      Mac mac = Mac.getInstance("HmacSHA256");
      mac.init(new SecretKeySpec(key, "HmacSHA256"));
      for (byte[] part : parts) {
        // Each part's length goes before it, so that no two lists of parts read the same.
        mac.update(
            new byte[] {
              (byte) (part.length >> 24),
              (byte) (part.length >> 16),
              (byte) (part.length >> 8),
              (byte) part.length
            });
        mac.update(part);
      }
      return mac.doFinal();
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException("every JDK has HmacSHA256", e);
    }
  }

  static String sign(String key, String method, String path, byte[] body) {
    return HexFormat.of()
        .formatHex(hmac(HexFormat.of().parseHex(key), utf8(method), utf8(path), body));
  }

  /** In constant time for equal lengths. */
  static boolean equal(String one, String other) {
    return MessageDigest.isEqual(utf8(one), utf8(other));
  }

  static byte[] utf8(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }
}
