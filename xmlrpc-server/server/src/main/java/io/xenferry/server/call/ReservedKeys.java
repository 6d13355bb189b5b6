package io.xenferry.server.call;

import io.xenferry.model.FieldDef;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.util.LinkedHashMap;
import java.util.SequencedMap;

/**
 * Keys of {@code other_config} that are this server's own: what it has noted there of an object
 * decides what becomes of it. Clients see them, and may write a map back that they have read, but
 * cannot make, change or remove them.
 */
final class ReservedKeys {
  private static final String MAP = "other_config";
  private static final String PREFIX = "xenferry:migration";

  private ReservedKeys() {}

  private static boolean isReserved(FieldDef field, String key) {
    return field.name().equals(MAP) && key.startsWith(PREFIX);
  }

  /**
   * @throws XenApiException OPERATION_NOT_ALLOWED
   */
  static void refuse(FieldDef field, String key) throws XenApiException {
    if (isReserved(field, key)) {
      throw new XenApiException(
          "OPERATION_NOT_ALLOWED", "the key " + key + " of " + MAP + " is the server's own");
    }
  }

  /** What is stored for a new object. */
  static Value without(FieldDef field, Value wanted) {
    return kept(field, Value.VOID, wanted);
  }

  /** What is stored when a client sets the field: what is reserved stays as it is. */
  static Value kept(FieldDef field, Value old, Value wanted) {
    if (!field.name().equals(MAP) || !(wanted instanceof Value.Struct(var given))) {
      return wanted;
    }
    SequencedMap<String, Value> stored = new LinkedHashMap<>(given);
    stored.keySet().removeIf(key -> isReserved(field, key));
    if (old instanceof Value.Struct(var present)) {
      present.forEach((key, value) -> {
        if (isReserved(field, key)) {
          stored.put(key, value);
        }
      });
    }
    return new Value.Struct(stored);
  }
}
