package io.xenferry.migration.state;

/** Which side of a migration a host is; one host may be both of the same one. */
public enum Role {
  SOURCE,
  DESTINATION
}
