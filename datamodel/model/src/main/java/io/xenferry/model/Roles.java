package io.xenferry.model;

import java.util.ArrayList;
import java.util.List;

/** The built-in roles. Each but {@link #CLIENT_CERT} may do all that the later ones may. */
public final class Roles {
  public static final String POOL_ADMIN = "pool-admin";
  public static final String POOL_OPERATOR = "pool-operator";
  public static final String VM_POWER_ADMIN = "vm-power-admin";
  public static final String VM_ADMIN = "vm-admin";
  public static final String VM_OPERATOR = "vm-operator";
  public static final String CLIENT_CERT = "client-cert";
  public static final String READ_ONLY = "read-only";

  /** In a list of roles: nobody but the local superuser; no subject can have it. */
  public static final String LOCAL_ROOT_ONLY = "local-root-only";

  /** Strongest first. */
  public static final List<String> ALL =
      List.of(
          POOL_ADMIN, POOL_OPERATOR, VM_POWER_ADMIN, VM_ADMIN, VM_OPERATOR, CLIENT_CERT, READ_ONLY);

  private static final List<String> NOBODY = List.of(LOCAL_ROOT_ONLY);

  private Roles() {}

  /**
   * The role and all stronger ones. {@link #CLIENT_CERT} is among them only where everybody may.
   *
   * @param minimum a role, or {@link #LOCAL_ROOT_ONLY}
   */
  public static List<String> atLeast(String minimum) {
    return of(minimum, "");
  }

  /** The same, with further roles, divided by blanks. */
  static List<String> of(String minimum, String also) {
    if (minimum.equals(LOCAL_ROOT_ONLY)) {
      return NOBODY;
    }
    int last = ALL.indexOf(minimum);
    if (last < 0) {
      throw new IllegalArgumentException("No built-in role is called " + minimum);
    }
    List<String> roles = new ArrayList<>(ALL.subList(0, last + 1));
    if (!minimum.equals(READ_ONLY)) {
      roles.remove(CLIENT_CERT);
    }
    if (!also.isEmpty()) {
      roles.addAll(List.of(also.split(" ")));
    }
    return List.copyOf(roles);
  }
}
