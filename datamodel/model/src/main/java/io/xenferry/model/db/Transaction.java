package io.xenferry.model.db;

import io.xenferry.model.Field;
import io.xenferry.model.FieldDef;
import io.xenferry.model.Ref;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.util.Map;

/** Changes in the making; reads see them, nobody else does before the commit is durable. */
public interface Transaction extends Snapshot {
  /**
   * Makes an object with a fresh reference. Fields not given take their defaults, {@code uuid} a
   * random one. DB_UNIQUENESS_CONSTRAINT_VIOLATION when the uuid is taken in its class.
   */
  String create(String className, Map<String, Value> fieldsByName) throws XenApiException;

  /** The same with a reference of the caller's choice, which must be new. */
  void create(String className, String ref, Map<String, Value> fieldsByName) throws XenApiException;

  /**
   * HANDLE_INVALID when the object is gone, INVALID_VALUE when the value is not of the field's
   * type. A view of a relation between two sets may be set like its other end.
   *
   * @throws IllegalArgumentException for a view that follows from a reference, or a field of
   *     another class
   */
  void set(String className, String ref, FieldDef field, Value value) throws XenApiException;

  <T, V> void set(Ref<T> ref, Field<T, V> field, V value) throws XenApiException;

  /** HANDLE_INVALID when the object is gone. */
  void delete(String className, String ref) throws XenApiException;

  /** Counts as a change without changing anything: what {@code event.inject} does. */
  void touch(String className, String ref) throws XenApiException;
}
