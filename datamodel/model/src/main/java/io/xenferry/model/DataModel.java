package io.xenferry.model;

import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;

/**
 * The data model by name: classes, fields, messages, enumerations, HTTP actions. Immutable, from
 * any thread; parts are loaded when they are first asked for, so that a server starts quickly.
 */
public final class DataModel {
  /** Versions of the published API. */
  public static final int API_MAJOR = Published.API_MAJOR;

  public static final int API_MINOR = Published.API_MINOR;
  public static final String API_VENDOR = Published.API_VENDOR;

  private static final Map<String, String> RELATIONS = pairs();
  private static final Map<String, List<String>> WORDS = new ConcurrentHashMap<>();

  private DataModel() {}

  /** Names of all classes, in the published order. */
  public static List<String> classNames() {
    return Published.CLASSES;
  }

  /** All classes, in the published order. */
  public static List<ClassDef> classes() {
    return Published.CLASSES.stream().map(DataModel::classDef).toList();
  }

  /** Names of the classes that have objects, without loading their facts. */
  public static List<String> databaseClassNames() {
    return Published.TABLES;
  }

  /**
   * Stored ends of relations by the views that follow from them: {@code VM.VBDs}, {@code VBD.VM}.
   */
  public static Map<String, String> relations() {
    return RELATIONS;
  }

  private static Map<String, String> pairs() {
    Map<String, String> out = new LinkedHashMap<>();
    for (int i = 0; i < Published.VIEWS.size(); i += 2) {
      out.put(Published.VIEWS.get(i), Published.VIEWS.get(i + 1));
    }
    return Collections.unmodifiableMap(out);
  }

  /** A class by its wire name, case and all. */
  public static Optional<ClassDef> findClass(String name) {
    return Optional.ofNullable(Published.classDef(name));
  }

  /**
   * A class that is known to exist.
   *
   * @throws IllegalArgumentException when it does not
   */
  public static ClassDef classDef(String name) {
    ClassDef c = Published.classDef(name);
    if (c == null) {
      throw new IllegalArgumentException("The data model has no class " + name);
    }
    return c;
  }

  /** A field of a class, with single or double underscores. */
  public static Optional<FieldDef> field(String className, String fieldName) {
    return findClass(className).flatMap(c -> c.field(fieldName));
  }

  /** A message by its wire name, {@code VM.start}; {@code VM_start} is understood too. */
  public static Optional<MessageDef> message(String wireName) {
    int dot = wireName.indexOf('.');
    if (dot >= 0) {
      return findClass(wireName.substring(0, dot))
          .flatMap(c -> c.message(wireName.substring(dot + 1)));
    }
    for (int i = wireName.indexOf('_'); i > 0; i = wireName.indexOf('_', i + 1)) {
      String message = wireName.substring(i + 1);
      Optional<MessageDef> found =
          findClass(wireName.substring(0, i)).flatMap(c -> c.message(message));
      if (found.isPresent()) {
        return found;
      }
    }
    return Optional.empty();
  }

  /**
   * What a message does: its kind, or the accessor that a custom message amounts to by its name and
   * parameters.
   */
  public static MessageDef.Kind kindOf(MessageDef m) {
    if (m.generated()) {
      return m.kind();
    }
    return m.field()
        .flatMap(f -> Accessors.kindOf(m.name(), m.params().size(), f))
        .orElse(MessageDef.Kind.CUSTOM);
  }

  /**
   * The words of an enumeration, in the published order.
   *
   * @throws IllegalArgumentException when there is no such enumeration
   */
  public static List<String> words(String enumName) {
    return WORDS.computeIfAbsent(
        enumName,
        n -> {
          WireWord[] words = Published.words(n);
          if (words == null) {
            throw new IllegalArgumentException("The data model has no enumeration " + n);
          }
          return Arrays.stream(words).map(WireWord::wire).toList();
        });
  }

  /** The HTTP actions. */
  public static List<HttpAction> httpActions() {
    return PublishedActions.ALL;
  }
}
