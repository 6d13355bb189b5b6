package io.xenferry.model.db;

import io.xenferry.model.DataModel;
import io.xenferry.model.FieldDef;
import io.xenferry.model.FieldDef.StoredEnd;
import io.xenferry.model.Type;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;

/** The relations of the data model, from both ends. Loads only the classes that are asked for. */
final class Relations {
  /** By class, the names of its stored ends; by stored end, its view. */
  private static final Map<String, List<String>> STORED = new HashMap<>();

  private static final Map<String, String> VIEWS = new HashMap<>();
  private static final Map<String, List<FieldDef>> ENDS = new ConcurrentHashMap<>();

  static {
    DataModel.relations()
        .forEach((view, stored) -> {
          VIEWS.put(stored, view);
          STORED
              .computeIfAbsent(stored.substring(0, stored.indexOf('.')), c -> new ArrayList<>())
              .add(stored);
        });
  }

  private Relations() {}

  /** The fields of the class whose references others see as views. */
  static List<FieldDef> storedEnds(String className) {
    List<FieldDef> ends = ENDS.get(className);
    if (ends == null) {
      ends = STORED.getOrDefault(className, List.of()).stream().map(Relations::named).toList();
      ENDS.put(className, ends);
    }
    return ends;
  }

  /** The view that follows from a stored field, if there is one. */
  static Optional<FieldDef> viewOf(FieldDef stored) {
    return Optional.ofNullable(VIEWS.get(stored.wireName())).map(Relations::named);
  }

  private static FieldDef named(String wireName) {
    int dot = wireName.indexOf('.');
    return stored(new StoredEnd(wireName.substring(0, dot), wireName.substring(dot + 1)));
  }

  /** The field that a view follows from. */
  static FieldDef stored(StoredEnd end) {
    return DataModel.field(end.className(), end.fieldName())
        .orElseThrow(() -> new IllegalStateException("The model has no field " + end));
  }

  /** Whether the stored end is a set too, so that either end may be set. */
  static boolean manyToMany(FieldDef view) {
    return view.view().map(end -> stored(end).type() instanceof Type.SetOf).orElse(false);
  }
}
