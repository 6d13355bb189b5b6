package io.xenferry.migration.peer;

import java.util.Map;

/**
 * One HTTP request of the peers' protocol.
 *
 * @param path absolute, without a query
 * @param headers names in lower case
 */
public record PeerRequest(String method, String path, Map<String, String> headers, byte[] body) {
  public static final String TOKEN = "xenferry-token";
  public static final String MAC = "xenferry-mac";

  public PeerRequest {
    headers = Map.copyOf(headers);
  }

  @Override
  public String toString() {
    return method + " " + path + " (" + body.length + " bytes)";
  }
}
