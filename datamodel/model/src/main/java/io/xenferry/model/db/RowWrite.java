package io.xenferry.model.db;

/** What a commit does to one object. */
sealed interface RowWrite {
  StoredRow row();

  /** It is new or has new values. */
  record Put(StoredRow row) implements RowWrite {}

  /** Only its generation moved. */
  record Touch(StoredRow row) implements RowWrite {}

  /** It is gone. */
  record Remove(StoredRow row, long deleted) implements RowWrite {}
}
