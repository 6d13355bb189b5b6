package io.xenferry.migration.json;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.MapperFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.Set;

/**
 * JSON to records and back. Reading refuses what is unknown, missing, doubled, null where it may
 * not be, nested deeper than 16, longer than 16 MiB, or followed by anything. Thread-safe.
 */
public final class StrictJson {
  /** Bytes; a VM's metadata document with its snapshots stays far below. */
  public static final int MAX_DOCUMENT = 16 << 20;

  private static final JsonMapper MAPPER =
      JsonMapper.builder(
              com.fasterxml.jackson.core.JsonFactory.builder()
                  .streamReadConstraints(
                      StreamReadConstraints.builder()
                          .maxNestingDepth(16)
                          .maxNumberLength(40)
                          .maxNameLength(256)
                          .maxStringLength(MAX_DOCUMENT)
                          .maxDocumentLength(MAX_DOCUMENT)
                          .build())
                  .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
                  .build())
          .enable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
          .enable(DeserializationFeature.FAIL_ON_NULL_FOR_PRIMITIVES)
          .enable(DeserializationFeature.FAIL_ON_MISSING_CREATOR_PROPERTIES)
          .enable(DeserializationFeature.FAIL_ON_NULL_CREATOR_PROPERTIES)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .enable(DeserializationFeature.FAIL_ON_NUMBERS_FOR_ENUMS)
          .disable(DeserializationFeature.ACCEPT_FLOAT_AS_INT)
          .disable(MapperFeature.ALLOW_COERCION_OF_SCALARS)
          .serializationInclusion(JsonInclude.Include.ALWAYS)
          .build();

  private StrictJson() {}

  /**
   * Reads one document.
   *
   * @throws IllegalArgumentException if it is not exactly one well-formed {@code type}
   */
  public static <T> T read(byte[] json, Class<T> type) {
    if (json.length > MAX_DOCUMENT) {
      throw new IllegalArgumentException("longer than " + MAX_DOCUMENT + " bytes");
    }
    T value;
    try {
      value = MAPPER.readValue(json, type);
    } catch (IOException | RuntimeException e) {
      throw new IllegalArgumentException("not a " + type.getSimpleName(), e);
    }
    if (value == null) {
      throw new IllegalArgumentException("null instead of a " + type.getSimpleName());
    }
    return value;
  }

  /**
   * Reads one document of which members may be left out.
   *
   * @param absent what those count as that are
   * @throws IllegalArgumentException if it is not exactly one well-formed {@code type}
   */
  public static <T> T read(byte[] json, Class<T> type, Map<String, Object> absent) {
    ObjectNode members = read(json, ObjectNode.class);
    absent.forEach((name, value) -> {
      if (!members.has(name)) {
        members.set(name, MAPPER.valueToTree(value));
      }
    });
    try {
      return MAPPER.treeToValue(members, type);
    } catch (JsonProcessingException | RuntimeException e) {
      throw new IllegalArgumentException("not a " + type.getSimpleName(), e);
    }
  }

  public static <T> T read(String json, Class<T> type) {
    return read(json.getBytes(StandardCharsets.UTF_8), type);
  }

  public static byte[] write(Object value) {
    try {
      return MAPPER.writeValueAsBytes(value);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("a value of ours that cannot be written", e);
    }
  }

  /** Without some of its members. */
  public static byte[] write(Object value, Set<String> without) {
    ObjectNode members = MAPPER.valueToTree(value);
    return write(members.remove(without));
  }

  public static String text(Object value) {
    return new String(write(value), StandardCharsets.UTF_8);
  }
}
