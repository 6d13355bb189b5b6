package io.xenferry.model.db;

/** Orders changes: by generation, then by the age of the object. */
record ChangeKey(long generation, long seq) implements Comparable<ChangeKey> {
  @Override
  public int compareTo(ChangeKey o) {
    int c = Long.compare(generation, o.generation);
    return c != 0 ? c : Long.compare(seq, o.seq);
  }
}
