package io.xenferry.schema.generate;

import static io.xenferry.schema.generate.Names.quote;

import io.xenferry.schema.xml.ClassXml;
import io.xenferry.schema.xml.DefaultXml;
import io.xenferry.schema.xml.FieldXml;
import io.xenferry.schema.xml.MessageXml;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** Writes the Java of one class: a constant a field, and its messages. */
final class ClassSource {
  /** Keeps every method far below the JVM's 64 KiB. */
  private static final int MESSAGES_PER_METHOD = 40;

  private final ClassXml c;
  private final Map<String, String> views;
  private final Set<String> notForwarded;
  private final StringBuilder out = new StringBuilder();

  ClassSource(ClassXml c, Map<String, String> views, Set<String> notForwarded) {
    this.c = c;
    this.views = views;
    this.notForwarded = notForwarded;
  }

  String write() {
    String type = Names.type(c.name);
    out.append(ModelGenerator.HEADER)
        .append("import java.time.Instant;\nimport java.util.List;\nimport java.util.Map;\n\n")
        .append("/** The class {@code %s} of the XenAPI. */\n".formatted(c.name))
        .append("public final class ")
        .append(type)
        .append(" {\n")
        .append(
            "  private static final ClassSpec C =\n      new ClassSpec(%s, %s, %s, %s, %s);\n\n"
                .formatted(
                    quote(c.name),
                    quote(flags()),
                    quote(c.role),
                    quote(c.reader),
                    quote(String.join(" ", c.history))));
    for (FieldXml f : c.fields) {
      field(type, f);
    }
    out.append("  /** The class's facts. */\n  public static final ClassDef CLASS = C.build(")
        .append(type)
        .append("::messages);\n\n");
    messages();
    out.append("  private ").append(type).append("() {}\n}\n");
    return out.toString();
  }

  private String flags() {
    return (c.database ? "D" : "")
        + (c.events ? "E" : "")
        + (c.persistent ? "P" : "")
        + (c.constructible ? "C" : "")
        + (c.enumerable ? "G" : "")
        + (c.async ? "A" : "");
  }

  private void field(String type, FieldXml f) {
    JavaType t = JavaType.parse(f.type);
    String view = views.get(c.name + "." + f.name);
    String flags = (f.internal ? "i" : "") + (f.persistent ? "" : "t") + (f.dangling ? "d" : "");
    out.append("  /** {@code %s}, %s. */\n".formatted(f.name, f.access));
    out.append(
        "  public static final Field<%s, %s> %s =\n"
            .formatted(type, t.java(), Names.field(f.name)));
    out.append(
        "      C.field(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s);\n\n"
            .formatted(
                quote(f.name),
                quote(f.column == null ? f.name : f.column),
                t.codec(),
                quote(f.access),
                quote(f.setter),
                quote(String.join(" ", f.setterAlso)),
                quote(f.getter),
                quote(flags),
                quote(String.join(" ", f.history)),
                literal(t, f.defaultValue),
                view == null ? "null" : quote(view),
                f.keyRoles.stream()
                    .map(k -> quote(k.key) + ", " + quote(k.role))
                    .collect(Collectors.joining(", ", "Map.of(", ")"))));
  }

  private void messages() {
    int methods = (c.messages.size() + MESSAGES_PER_METHOD - 1) / MESSAGES_PER_METHOD;
    out.append("  private static void messages(ClassSpec c) {\n");
    for (int i = 0; i < methods; i++) {
      out.append("    messages").append(i).append("(c);\n");
    }
    out.append("  }\n\n");
    for (int i = 0; i < methods; i++) {
      out.append("  private static void messages").append(i).append("(ClassSpec c) {\n");
      int from = i * MESSAGES_PER_METHOD;
      int to = Math.min(c.messages.size(), from + MESSAGES_PER_METHOD);
      c.messages.subList(from, to).forEach(this::message);
      out.append("  }\n\n");
    }
  }

  private void message(MessageXml m) {
    String flags =
        (m.async ? "a" : "")
            + (m.session ? "" : "n")
            + (m.hidden ? "h" : "")
            + (m.poolInternal ? "i" : "")
            + (m.emergency ? "e" : "")
            + (m.secret ? "x" : "")
            + (m.ownMarshalling ? "m" : "")
            + (m.noCurrentOperations ? "o" : "")
            + (notForwarded.contains(c.name + "." + m.name) ? "f" : "");
    out.append(
        "    c.message(%s, %s, %s, %s, %s, %s)"
            .formatted(
                quote(m.name),
                quote(m.result),
                quote(m.role),
                quote(String.join(" ", m.also)),
                quote(flags),
                quote(String.join(" ", m.history))));
    for (MessageXml.Param p : m.params) {
      out.append(
          "\n        .param(%s, %s, %s)"
              .formatted(
                  quote(p.name), quote(p.type), literal(JavaType.parse(p.type), p.defaultValue)));
    }
    if (!m.errors.isEmpty()) {
      out.append("\n        .errors(")
          .append(m.errors.stream().map(Names::quote).collect(Collectors.joining(", ")))
          .append(')');
    }
    if (m.forward != null) {
      out.append("\n        .forward(").append(quote(m.forward)).append(')');
    }
    out.append(";\n");
  }

  /** The expression of a default, {@code null} when there is none. */
  private static String literal(JavaType t, @Nullable DefaultXml d) {
    if (d == null) {
      return "null";
    }
    return switch (t.shape()) {
      case SET -> list(t, d.items);
      case MAP ->
          d.entries.isEmpty()
              ? "Value.EMPTY_STRUCT"
              : d.entries.stream()
                  .map(e -> quote(e.key) + ", " + quote(e.value))
                  .collect(Collectors.joining(", ", "ClassSpec.texts(", ")"));
      default -> scalar(t.shape(), d.value == null ? "" : d.value);
    };
  }

  private static String list(JavaType t, List<String> items) {
    if (items.isEmpty()) {
      return "Value.EMPTY_ARRAY";
    }
    String java = t.java().substring("List<".length(), t.java().length() - 1);
    JavaType.Shape shape = java.equals("Long") ? JavaType.Shape.INT : JavaType.Shape.TEXT;
    return items.stream()
        .map(i -> scalar(shape, i))
        .collect(Collectors.joining(", ", "new Value.Array(List.of(", "))"));
  }

  private static String scalar(JavaType.Shape shape, String value) {
    return switch (shape) {
      case TEXT -> "Value.of(" + quote(value) + ")";
      case INT -> "Value.of(" + Long.parseLong(value) + "L)";
      case FLOAT -> "Value.of(" + Double.parseDouble(value) + ")";
      case BOOL -> "Value.of(" + Boolean.parseBoolean(value) + ")";
      case DATETIME -> "Value.of(Instant.parse(" + quote(value) + "))";
      case SET, MAP, OTHER ->
          throw new IllegalArgumentException("A default of " + shape + " is not supported");
    };
  }
}
