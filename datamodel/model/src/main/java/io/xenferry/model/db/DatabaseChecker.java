package io.xenferry.model.db;

import io.xenferry.model.ClassDef;
import io.xenferry.model.DataModel;
import io.xenferry.model.FieldDef;
import io.xenferry.model.Type;
import io.xenferry.model.Types;
import io.xenferry.model.Value;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;

/**
 * Looks for what should not be: references to nothing, lists that do not follow from the references
 * at the other end, uuids used twice, values of a wrong type.
 */
public final class DatabaseChecker {

  /** What kind of fault. */
  public enum Kind {
    BROKEN_REFERENCE,
    BROKEN_VIEW,
    DUPLICATE_UUID,
    WRONG_TYPE,
    UNREADABLE
  }

  /**
   * One fault.
   *
   * @param className the object's class, empty for {@code UNREADABLE}
   * @param ref the object
   * @param field the field's name, empty where no single one is at fault
   */
  public record Finding(Kind kind, String className, String ref, String field, String detail) {}

  private DatabaseChecker() {}

  /** All faults of a snapshot. Fields that may dangle by the model are left out. */
  public static List<Finding> check(Snapshot snapshot) {
    List<Finding> out = new ArrayList<>();
    for (ClassDef c : DataModel.classes()) {
      if (c.inDatabase()) {
        check(snapshot, c, out);
      }
    }
    return List.copyOf(out);
  }

  /**
   * The same of a database that no server has open, and what could not even be read. The file is
   * opened as a server does, which writes to it.
   *
   * @throws DatabaseException when the file as a whole cannot be used
   */
  public static List<Finding> check(Path file) throws DatabaseException {
    try (SqliteStore store = SqliteStore.open(file)) {
      State state = store.load();
      List<Finding> out = new ArrayList<>();
      store.faults().forEach(f -> out.add(new Finding(Kind.UNREADABLE, "", "", "", f)));
      check(new StateSnapshot(state)).stream().filter(f -> !leftOut(f)).forEach(out::add);
      return List.copyOf(out);
    } catch (DatabaseException e) {
      throw e;
    } catch (java.io.IOException e) {
      throw new DatabaseException(String.valueOf(e.getMessage()), e);
    }
  }

  /**
   * Whether it is about a reference to what is never in a file: sessions, which end with the
   * server.
   */
  private static boolean leftOut(Finding f) {
    return f.kind() == Kind.BROKEN_REFERENCE
        && DataModel.field(f.className(), f.field())
            .map(field -> target(field.type()))
            .flatMap(DataModel::findClass)
            .filter(c -> !SqliteStore.durable(c))
            .isPresent();
  }

  /** The class to which references of the type point; empty for none. */
  private static String target(Type type) {
    return switch (type) {
      case Type.RefTo r -> r.className();
      case Type.SetOf(Type.RefTo r) -> r.className();
      case Type.MapOf(Type _, Type.RefTo r) -> r.className();
      default -> "";
    };
  }

  private static void check(Snapshot snapshot, ClassDef c, List<Finding> out) {
    Map<String, String> uuids = new HashMap<>();
    Optional<FieldDef> uuid = c.field("uuid");
    for (FieldDef f : c.fields()) {
      if (f.view().isPresent()) {
        checkView(snapshot, c, f, f.view().get(), out);
      }
    }
    for (Row row : snapshot.rows(c.name())) {
      uuid.ifPresent(f -> {
        String text = Types.databaseText(row.get(f));
        String other = text.isEmpty() ? null : uuids.put(text, row.ref());
        if (other != null) {
          out.add(
              new Finding(
                  Kind.DUPLICATE_UUID, c.name(), row.ref(), "uuid", text + " has " + other));
        }
      });
      for (FieldDef f : c.fields()) {
        if (f.view().isEmpty()) {
          check(snapshot, row, f, out);
        }
      }
    }
  }

  private static void check(Snapshot snapshot, Row row, FieldDef f, List<Finding> out) {
    Value v = row.get(f);
    Types.fault(f.type(), v)
        .ifPresent(
            w -> out.add(new Finding(Kind.WRONG_TYPE, row.className(), row.ref(), f.name(), w)));
    String target = target(f.type());
    if (target.isEmpty() || f.dangling() || !DataModel.classDef(target).inDatabase()) {
      return;
    }
    for (String ref : Types.refs(f.type(), v)) {
      if (snapshot.row(target, ref).isEmpty()) {
        out.add(
            new Finding(
                Kind.BROKEN_REFERENCE,
                row.className(),
                row.ref(),
                f.name(),
                "there is no " + target + " " + ref));
      }
    }
  }

  /** Views are kept beside the references that they follow from; here they are made anew. */
  private static void checkView(
      Snapshot snapshot, ClassDef c, FieldDef view, FieldDef.StoredEnd end, List<Finding> out) {
    Optional<FieldDef> stored =
        DataModel.findClass(end.className()).flatMap(other -> other.field(end.fieldName()));
    if (stored.isEmpty()) {
      return;
    }
    Map<String, Set<String>> referring = new HashMap<>();
    for (Row row : snapshot.rows(end.className())) {
      for (String target : Types.refs(stored.get().type(), row.get(stored.get()))) {
        referring.computeIfAbsent(target, any -> new TreeSet<>()).add(row.ref());
      }
    }
    for (Row row : snapshot.rows(c.name())) {
      Set<String> wanted = referring.getOrDefault(row.ref(), Set.of());
      Set<String> shown = new TreeSet<>(Types.refs(view.type(), row.get(view)));
      boolean one = !(view.type() instanceof Type.SetOf);
      if (one
          ? shown.isEmpty() != wanted.isEmpty() || !wanted.containsAll(shown)
          : !shown.equals(wanted)) {
        out.add(
            new Finding(
                Kind.BROKEN_VIEW,
                c.name(),
                row.ref(),
                view.name(),
                "shows " + shown + ", and referring to it are " + wanted));
      }
    }
  }
}
