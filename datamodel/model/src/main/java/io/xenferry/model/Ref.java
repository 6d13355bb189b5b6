package io.xenferry.model;

import java.util.Locale;
import java.util.UUID;

/**
 * A reference to an object: {@code OpaqueRef:} and a random uuid that has nothing to do with the
 * object's own uuid. {@code OpaqueRef:NULL} refers to nothing.
 *
 * @param <T> the generated class that the object is of, such as {@code VM}
 */
public record Ref<T>(String opaque) {

  public static final String PREFIX = "OpaqueRef:";

  private static final Ref<?> NULL = new Ref<>(PREFIX + "NULL");

  @SuppressWarnings("unchecked")
  public static <T> Ref<T> nullRef() {
    return (Ref<T>) NULL;
  }

  /** A fresh reference. */
  public static <T> Ref<T> random() {
    return withUuid(UUID.randomUUID());
  }

  /** The one with this uuid in it. */
  public static <T> Ref<T> withUuid(UUID uuid) {
    return new Ref<>(PREFIX + uuid.toString().toLowerCase(Locale.ROOT));
  }

  /** From the wire; the empty string is read as the null reference. */
  public static <T> Ref<T> of(String opaque) {
    return opaque.isEmpty() || opaque.equals(NULL.opaque) ? nullRef() : new Ref<>(opaque);
  }

  public boolean isNull() {
    return opaque.equals(NULL.opaque);
  }

  @Override
  public String toString() {
    return opaque;
  }
}
