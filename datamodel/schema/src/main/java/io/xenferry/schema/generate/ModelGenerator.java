package io.xenferry.schema.generate;

import static io.xenferry.schema.generate.Names.quote;

import io.xenferry.schema.DataModelSource;
import io.xenferry.schema.xml.ActionsXml;
import io.xenferry.schema.xml.AlertsXml;
import io.xenferry.schema.xml.ClassXml;
import io.xenferry.schema.xml.EnumsXml;
import io.xenferry.schema.xml.ErrorsXml;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** Writes the generated part of package io.xenferry.model into a directory of sources. */
public final class ModelGenerator {
  static final String HEADER =
      "// Generated from the data model's XML. Do not edit.\npackage io.xenferry.model;\n\n";

  private final DataModelSource source;
  private final Map<String, String> files = new TreeMap<>();

  private ModelGenerator(DataModelSource source) {
    this.source = source;
  }

  /**
   * Generates.
   *
   * @param args the directory of sources
   */
  public static void main(String[] args) throws IOException {
    write(generate(DataModelSource.load()), Path.of(args[0], "io", "xenferry", "model"));
  }

  /** The sources by file name. */
  static Map<String, String> generate(DataModelSource source) {
    ModelGenerator g = new ModelGenerator(source);
    Set<String> notForwarded =
        source.model().notForwarded.stream().map(c -> c.call).collect(Collectors.toSet());
    for (ClassXml c : source.classes()) {
      g.add(Names.type(c.name), new ClassSource(c, source.views(), notForwarded).write());
    }
    source.enums().enums.forEach(g::enumeration);
    g.errorCodes();
    g.alerts();
    g.actions();
    g.tables();
    return g.files;
  }

  /** Writes what differs and removes what is no longer generated. */
  private static void write(Map<String, String> files, Path directory) throws IOException {
    Files.createDirectories(directory);
    for (Map.Entry<String, String> f : files.entrySet()) {
      Path path = directory.resolve(f.getKey());
      if (!Files.exists(path) || !Files.readString(path).equals(f.getValue())) {
        Files.writeString(path, f.getValue());
      }
    }
    try (Stream<Path> present = Files.list(directory)) {
      for (Path p : present.filter(p -> !files.containsKey(p.getFileName().toString())).toList()) {
        Files.delete(p);
      }
    }
  }

  private void add(String type, String text) {
    if (files.put(type + ".java", text) != null) {
      throw new IllegalStateException("Two things of the data model are both called " + type);
    }
  }

  private void enumeration(EnumsXml.EnumXml e) {
    String type = Names.type(e.name);
    String constants =
        e.values.stream()
            .map(v -> "  %s(%s)".formatted(Names.word(v), quote(v)))
            .collect(Collectors.joining(",\n"));
    add(
        type,
        HEADER
            + """
            /** The enumeration {@code %1$s}. */
            public enum %2$s implements WireWord {
            %3$s;

              private final String wire;

              %2$s(String wire) {
                this.wire = wire;
              }

              @Override
              public String wire() {
                return wire;
              }

              /**
               * The constant of a word.
               *
               * @throws IllegalArgumentException when the enumeration has no such word
               */
              public static %2$s ofWire(String wire) {
                for (%2$s v : values()) {
                  if (v.wire.equals(wire)) {
                    return v;
                  }
                }
                throw new IllegalArgumentException("%1$s has no word " + wire);
              }
            }
            """
                .formatted(e.name, type, constants));
  }

  private void errorCodes() {
    StringBuilder out = new StringBuilder(HEADER);
    out.append("import java.util.List;\nimport java.util.Optional;\n\n");
    out.append("/** Error codes of the XenAPI; the name of the constant is the code. */\n");
    out.append("public enum ErrorCode {\n");
    List<String> constants =
        source.errors().errors.stream()
            .map((ErrorsXml.ErrorXml e) ->
                "  %s(%s)"
                    .formatted(
                        e.code,
                        Stream.concat(
                                Stream.of(Boolean.toString(e.listed)),
                                e.params.stream().map(Names::quote))
                            .collect(Collectors.joining(", "))))
            .toList();
    out.append(String.join(",\n", constants)).append(";\n");
    out.append(
        """

          private final boolean listed;
          private final List<String> params;

          ErrorCode(boolean listed, String... params) {
            this.listed = listed;
            this.params = List.of(params);
          }

          /** Whether published clients know the names of its parameters. */
          public boolean listed() {
            return listed;
          }

          /** Names of its parameters, in order. */
          public List<String> params() {
            return params;
          }

          /** The code of that name, if the data model has it. */
          public static Optional<ErrorCode> find(String code) {
            try {
              return Optional.of(valueOf(code));
            } catch (IllegalArgumentException e) {
              return Optional.empty();
            }
          }
        }
        """);
    add("ErrorCode", out.toString());
  }

  private void alerts() {
    String constants =
        source.alerts().alerts.stream()
            .map((AlertsXml.Alert a) -> "  %s(%d)".formatted(a.name, a.priority))
            .distinct()
            .collect(Collectors.joining(",\n"));
    add(
        "AlertType",
        HEADER
            + """
            /** Kinds of messages that a server files; the name of the constant is the message's. */
            public enum AlertType {
            %s;

              private final int priority;

              AlertType(int priority) {
                this.priority = priority;
              }

              /** From 1, the most urgent, to 5. */
              public int priority() {
                return priority;
              }
            }
            """
                .formatted(constants));
  }

  private void actions() {
    StringBuilder out = new StringBuilder(HEADER);
    out.append("import java.util.List;\nimport java.util.Map;\n\n");
    out.append("/** The HTTP actions of the data model. */\nfinal class PublishedActions {\n");
    out.append("  static final List<HttpAction> ALL =\n      List.of(\n");
    out.append(
        source.actions().actions.stream()
            .map(ModelGenerator::action)
            .collect(Collectors.joining(",\n")));
    out.append(");\n\n  private PublishedActions() {}\n}\n");
    add("PublishedActions", out.toString());
  }

  private static String action(ActionsXml.Action a) {
    return "          new HttpAction(%s, %s, %s, Roles.of(%s, %s), %s, %s, %s, %s)"
        .formatted(
            quote(a.name),
            quote(a.method),
            quote(a.uri),
            quote(a.role),
            quote(String.join(" ", a.also)),
            a.sdk,
            a.rbac,
            a.args.stream()
                .map(p -> "new HttpAction.Arg(%s, %s)".formatted(quote(p.name), quote(p.type)))
                .collect(Collectors.joining(", ", "List.of(", ")")),
            a.subs.stream()
                .map(s -> quote(s.name) + ", Roles.of(" + quote(s.role) + ", \"\")")
                .collect(Collectors.joining(", ", "Map.of(", ")")));
  }

  /** Look-ups by name; classes are loaded one by one as they are asked for. */
  private void tables() {
    StringBuilder out = new StringBuilder(HEADER);
    out.append("import java.util.List;\nimport org.jspecify.annotations.Nullable;\n\n");
    out.append("/** Classes and enumerations by name. */\nfinal class Published {\n");
    out.append("  static final int API_MAJOR = ").append(source.model().apiMajor).append(";\n");
    out.append("  static final int API_MINOR = ").append(source.model().apiMinor).append(";\n");
    out.append("  static final String API_VENDOR = ")
        .append(quote(source.model().apiVendor))
        .append(";\n");
    out.append("  static final List<String> CLASSES =\n      List.of(\n          ");
    out.append(
        source.classes().stream()
            .map(c -> quote(c.name))
            .collect(Collectors.joining(",\n          ")));
    out.append(
        ");\n\n  /** Those that have objects. */\n  static final List<String> TABLES =\n      List.of(\n          ");
    out.append(
        source.classes().stream()
            .filter(c -> c.database)
            .map(c -> quote(c.name))
            .collect(Collectors.joining(",\n          ")));
    out.append(
        ");\n\n  /** View, then stored end: VM.VBDs, VBD.VM. */\n  static final List<String> VIEWS =\n      List.of(\n          ");
    out.append(
        source.views().entrySet().stream()
            .map(v -> quote(v.getKey()) + ", " + quote(v.getValue()))
            .collect(Collectors.joining(",\n          ")));
    out.append(");\n\n  private Published() {}\n\n");
    out.append("  static @Nullable ClassDef classDef(String name) {\n    return switch (name) {\n");
    for (ClassXml c : source.classes()) {
      out.append("      case %s -> %s.CLASS;\n".formatted(quote(c.name), Names.type(c.name)));
    }
    out.append("      default -> null;\n    };\n  }\n\n");
    out.append("  static WireWord @Nullable [] words(String name) {\n    return switch (name) {\n");
    for (EnumsXml.EnumXml e : source.enums().enums) {
      out.append("      case %s -> %s.values();\n".formatted(quote(e.name), Names.type(e.name)));
    }
    out.append("      default -> null;\n    };\n  }\n}\n");
    add("Published", out.toString());
  }
}
