package io.xenferry.migration.peer;

import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.util.HexFormat;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/** Message authentication with a migration's key: HMAC-SHA256 in lower-case hex. */
final class Keys {
  private Keys() {}

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
