package io.xenferry.server.metrics;

import java.util.Locale;

/**
 * Whose figures they are.
 *
 * @param uuid of a record, in the form that the record has
 */
record Owner(Kind kind, String uuid) {
  /** The classes of objects that have figures. */
  enum Kind {
    VM,
    HOST,
    SR;

    /** As it stands in legends and names of files. */
    String word() {
      return name().toLowerCase(Locale.ROOT);
    }

    /** In the data model. */
    String className() {
      return this == HOST ? "host" : name();
    }
  }

  /** As it stands in legends: {@code vm:UUID}. */
  @Override
  public String toString() {
    return kind.word() + ":" + uuid;
  }
}
