package io.xenferry.model;

/** A constant of a generated enumeration. */
public interface WireWord {
  /** The word as it stands on the wire. */
  String wire();
}
