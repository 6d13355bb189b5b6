package io.xenferry.model.db;

import io.xenferry.model.ClassDef;
import io.xenferry.model.DataModel;
import io.xenferry.model.FieldDef;
import io.xenferry.model.FieldDef.StoredEnd;
import io.xenferry.model.Type;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** The relations of the data model, from both ends. */
final class Relations {
  private static final Map<StoredEnd, FieldDef> VIEWS = new HashMap<>();
  private static final Map<String, List<FieldDef>> STORED = new HashMap<>();

  static {
    for (ClassDef c : DataModel.classes()) {
      for (FieldDef f : c.fields()) {
        f.view().ifPresent(end -> VIEWS.put(end, f));
      }
    }
    for (StoredEnd end : VIEWS.keySet()) {
      STORED.computeIfAbsent(end.className(), c -> new ArrayList<>()).add(stored(end));
    }
  }

  private Relations() {}

  /** The fields of the class whose references others see as views. */
  static List<FieldDef> storedEnds(String className) {
    return STORED.getOrDefault(className, List.of());
  }

  /** The view that follows from a stored field, if there is one. */
  static Optional<FieldDef> viewOf(FieldDef stored) {
    return Optional.ofNullable(VIEWS.get(new StoredEnd(stored.className(), stored.name())));
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
