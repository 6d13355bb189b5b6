package io.xenferry.iscsi.pdu;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * The key=value text of login and of text requests (RFC 7143 section 6.1): pairs end with a zero
 * byte; the order is kept. Repeated keys are kept only by {@link #parseList}, as SendTargets needs.
 */
public final class TextKeys {
  /** What a whole negotiation step may have, over all its PDUs. */
  public static final int MAX_BYTES = 64 * 1024;

  private static final int MAX_KEYS = 256;
  private static final int MAX_KEY = 63;

  private final Map<String, String> pairs = new LinkedHashMap<>();

  public TextKeys set(String key, String value) {
    pairs.put(key, value);
    return this;
  }

  public Optional<String> get(String key) {
    return Optional.ofNullable(pairs.get(key));
  }

  public Map<String, String> asMap() {
    return pairs;
  }

  /** A number in range, or the default when the key is absent. */
  public int number(String key, int absent, int min, int max) throws ProtocolException {
    @Nullable String text = pairs.get(key);
    if (text == null) {
      return absent;
    }
    try {
      long value = Long.decode(text);
      if (value >= min && value <= max) {
        return (int) value;
      }
    } catch (NumberFormatException e) {
      // Said below.
    }
    throw new ProtocolException(key + "=" + shorten(text) + " is not in " + min + ".." + max);
  }

  public boolean yes(String key, boolean absent) throws ProtocolException {
    @Nullable String text = pairs.get(key);
    if (text == null) {
      return absent;
    }
    return switch (text) {
      case "Yes" -> true;
      case "No" -> false;
      default -> throw new ProtocolException(key + "=" + shorten(text) + " is not Yes or No");
    };
  }

  public byte[] toBytes() {
    StringBuilder text = new StringBuilder();
    pairs.forEach((key, value) -> text.append(key).append('=').append(value).append('\0'));
    return text.toString().getBytes(StandardCharsets.UTF_8);
  }

  /** Every pair, in order, repeated keys too. */
  public static List<Map.Entry<String, String>> parseList(ByteBuffer bytes)
      throws ProtocolException {
    if (bytes.remaining() > MAX_BYTES) {
      throw new ProtocolException("text of " + bytes.remaining() + " bytes");
    }
    List<Map.Entry<String, String>> found = new java.util.ArrayList<>();
    String all = StandardCharsets.UTF_8.decode(bytes.duplicate()).toString();
    for (int start = 0; start < all.length(); ) {
      int end = all.indexOf('\0', start);
      end = end < 0 ? all.length() : end;
      if (end > start) {
        int equals = all.indexOf('=', start);
        if (equals <= start || equals > end || equals - start > MAX_KEY) {
          throw new ProtocolException("text without key: " + shorten(all.substring(start, end)));
        }
        found.add(Map.entry(all.substring(start, equals), all.substring(equals + 1, end)));
      }
      start = end + 1;
    }
    return found;
  }

  public static TextKeys parse(ByteBuffer bytes) throws ProtocolException {
    TextKeys keys = new TextKeys();
    for (Map.Entry<String, String> pair : parseList(bytes)) {
      if (keys.pairs.size() >= MAX_KEYS) {
        throw new ProtocolException("more than " + MAX_KEYS + " keys");
      }
      if (keys.pairs.put(pair.getKey(), pair.getValue()) != null) {
        throw new ProtocolException("key " + shorten(pair.getKey()) + " twice");
      }
    }
    return keys;
  }

  private static String shorten(String text) {
    String safe = text.replaceAll("[^\\x20-\\x7e]", "?");
    return safe.length() <= 60 ? safe : safe.substring(0, 60) + "…";
  }

  @Override
  public String toString() {
    return "TextKeys" + pairs.keySet();
  }
}
