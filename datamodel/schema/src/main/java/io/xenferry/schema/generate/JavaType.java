package io.xenferry.schema.generate;

/**
 * What a type of the data model is in Java.
 *
 * @param java the boxed Java type: {@code Ref<VM>}
 * @param codec an expression that gives its codec
 * @param shape how a default of it is written
 */
record JavaType(String java, String codec, Shape shape) {

  /** Kinds of values as far as literals differ. */
  enum Shape {
    TEXT,
    INT,
    FLOAT,
    BOOL,
    DATETIME,
    SET,
    MAP,
    OTHER
  }

  /** Parses the published notation: {@code "(VDI ref -> SR ref) map"}. */
  static JavaType parse(String text) {
    String t = text.strip();
    if (t.endsWith(" set")) {
      JavaType e = parse(t.substring(0, t.length() - 4));
      if (e.shape == Shape.OTHER) {
        return other(t);
      }
      return new JavaType("List<" + e.java + ">", "Codec.list(" + e.codec + ")", Shape.SET);
    }
    if (t.startsWith("(") && t.endsWith(") map")) {
      String inner = t.substring(1, t.length() - 5);
      int arrow = arrow(inner);
      JavaType k = parse(inner.substring(0, arrow));
      JavaType v = parse(inner.substring(arrow + 4));
      if (v.shape == Shape.OTHER) {
        return other(t);
      }
      return new JavaType(
          "Map<" + k.java + ", " + v.java + ">",
          "Codec.map(" + k.codec + ", " + v.codec + ")",
          Shape.MAP);
    }
    if (t.endsWith(" ref")) {
      String name = t.substring(0, t.length() - 4);
      return new JavaType(
          "Ref<" + Names.type(name) + ">", "Codec.ref(\"" + name + "\")", Shape.TEXT);
    }
    if (t.startsWith("enum ")) {
      String name = t.substring(5);
      return new JavaType(
          Names.type(name),
          "Codec.word(\"" + name + "\", " + Names.type(name) + ".class)",
          Shape.TEXT);
    }
    return switch (t) {
      case "string", "secretstring" -> new JavaType("String", "Codec.STRING", Shape.TEXT);
      case "int" -> new JavaType("Long", "Codec.INT", Shape.INT);
      case "float" -> new JavaType("Double", "Codec.FLOAT", Shape.FLOAT);
      case "bool" -> new JavaType("Boolean", "Codec.BOOL", Shape.BOOL);
      case "datetime" -> new JavaType("Instant", "Codec.DATETIME", Shape.DATETIME);
      default -> other(t);
    };
  }

  private static JavaType other(String text) {
    return new JavaType("Value", "Codec.plain(\"" + text + "\")", Shape.OTHER);
  }

  /** The arrow between key and value, outside inner brackets. */
  private static int arrow(String inner) {
    int depth = 0;
    for (int i = 0; i < inner.length(); i++) {
      char c = inner.charAt(i);
      depth += c == '(' ? 1 : c == ')' ? -1 : 0;
      if (depth == 0 && inner.startsWith(" -> ", i)) {
        return i;
      }
    }
    throw new IllegalArgumentException("No arrow in the map type (" + inner + ") map");
  }
}
