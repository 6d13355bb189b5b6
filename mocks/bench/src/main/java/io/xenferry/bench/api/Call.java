package io.xenferry.bench.api;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Calls of XenAPI with text for parameters, and what is wanted of their answers. */
final class Call {
  private static final Pattern REFERENCE = Pattern.compile("OpaqueRef:[0-9a-f-]{36}");

  private Call() {}

  /**
   * @param params texts; one that begins with {@code <} is taken as an element of its own
   */
  static String xml(String method, String... params) {
    StringBuilder xml =
        new StringBuilder("<?xml version='1.0'?><methodCall><methodName>")
            .append(method)
            .append("</methodName><params>");
    for (String param : params) {
      xml.append("<param><value>").append(param).append("</value></param>");
    }
    return xml.append("</params></methodCall>").toString();
  }

  /**
   * Makes a call.
   *
   * @return the answer's XML
   * @throws IOException the server is gone, or says Failure
   */
  static String on(Connection connection, String method, String... params) throws IOException {
    String answer =
        new String(
            connection.exchange(Connection.request(xml(method, params))), StandardCharsets.UTF_8);
    if (!answer.contains("<name>Status</name><value>Success</value>")) {
      throw new IOException(method + ": " + answer.substring(0, Math.min(600, answer.length())));
    }
    return answer;
  }

  /** The first reference in an answer. */
  static String reference(String answer) throws IOException {
    Matcher reference = REFERENCE.matcher(answer);
    if (!reference.find()) {
      throw new IOException("no reference in " + answer);
    }
    return reference.group();
  }

  static String list(String... items) {
    StringBuilder list = new StringBuilder("<array><data>");
    for (String item : items) {
      list.append("<value>").append(item).append("</value>");
    }
    return list.append("</data></array>").toString();
  }

  /** The token of an answer of event.from. */
  static String token(String answer) throws IOException {
    Matcher token = Pattern.compile("<name>token</name><value>([^<]*)</value>").matcher(answer);
    if (!token.find()) {
      throw new IOException("no token in " + answer);
    }
    return token.group(1);
  }
}
