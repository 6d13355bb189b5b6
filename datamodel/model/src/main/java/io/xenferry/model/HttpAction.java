package io.xenferry.model;

import java.util.List;
import java.util.Map;

/**
 * A path of the HTTP server that is no XenAPI call.
 *
 * @param name for example {@code put_import}
 * @param method GET, PUT, POST, CONNECT or OPTIONS
 * @param uri the path; the longest that is a prefix of the request's wins
 * @param roles who may use it
 * @param sdk whether published SDKs offer it
 * @param rolesChecked false where anybody may
 * @param args arguments of the query
 * @param parts parts of it that have roles of their own
 */
public record HttpAction(
    String name,
    String method,
    String uri,
    List<String> roles,
    boolean sdk,
    boolean rolesChecked,
    List<Arg> args,
    Map<String, List<String>> parts) {

  /** An argument of the query string and its type. */
  public record Arg(String name, String type) {}
}
