package io.xenferry.xe.client;

import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.Optional;

/** The little of HTTP/1.0 that transfers need: send a head, read a head, follow redirects. */
final class HttpExchange {
  /** Longest line and most lines of a head; more is no honest server. */
  private static final int LINE_LIMIT = 16_384;

  private static final int LINES_LIMIT = 256;

  private static final int REDIRECTS_LIMIT = 10;

  private HttpExchange() {}

  /** Where a url of the server leads: host (empty for the server of the session) and path. */
  record Target(String host, String path) {
    static Target of(String url) throws IOException {
      String prefix = "https://";
      Target target;
      if (url.startsWith(prefix)) {
        int slash = url.indexOf('/', prefix.length());
        String authority =
            slash < 0 ? url.substring(prefix.length()) : url.substring(prefix.length(), slash);
        String path = slash < 0 ? "/" : url.substring(slash);
        target = new Target(withoutPort(authority), decoded(path));
      } else {
        target = new Target("", url);
      }
      for (int i = 0; i < target.path.length(); i++) {
        if (target.path.charAt(i) < ' ') {
          throw new IOException("the server gave a url with a control character");
        }
      }
      return target;
    }

    private static String withoutPort(String authority) {
      int colon = authority.lastIndexOf(':');
      return colon > authority.lastIndexOf(']') ? authority.substring(0, colon) : authority;
    }

    private static String decoded(String path) throws IOException {
      try {
        return URLDecoder.decode(path.replace("+", "%2B"), StandardCharsets.UTF_8);
      } catch (IllegalArgumentException e) {
        throw new IOException("the server gave a url with a wrong escape");
      }
    }
  }

  /** An accepted exchange: its head is read, its body is next on the connection. */
  record Accepted(Transport.Connection connection, InputStream body) {}

  /**
   * Sends a request and follows redirects.
   *
   * @param headers complete lines, each with CR LF
   * @return nothing when the server answered with another status than 200; the status is in {@code
   *     status[0]}
   */
  static Optional<Accepted> open(
      Transport transport, String method, String url, String headers, int[] status)
      throws IOException {
    String next = url;
    for (int i = 0; i < REDIRECTS_LIMIT; i++) {
      Target target = Target.of(next);
      Transport.Connection c = transport.transfer(target.host());
      boolean keep = false;
      try {
        String head = method + " " + target.path() + " HTTP/1.0\r\n" + headers + "\r\n";
        c.out().write(head.getBytes(StandardCharsets.UTF_8));
        c.out().flush();
        InputStream in = new java.io.BufferedInputStream(c.in(), 65_536);
        String[] words = line(in).split(" ", 3);
        status[0] = words.length < 2 ? 0 : number(words[1]);
        Optional<String> location = Optional.empty();
        for (int n = 0; ; n++) {
          String line = line(in);
          if (line.isEmpty()) {
            break;
          }
          if (n == LINES_LIMIT) {
            throw new IOException("the server's answer has too many headers");
          }
          if (line.regionMatches(true, 0, "location:", 0, 9)) {
            location = Optional.of(line.substring(9).strip());
          }
        }
        if (status[0] == 200) {
          keep = true;
          return Optional.of(new Accepted(c, in));
        }
        if (status[0] != 302 || location.isEmpty()) {
          return Optional.empty();
        }
        next = location.get();
      } finally {
        if (!keep) {
          c.close();
        }
      }
    }
    throw new IOException("the server redirects for ever");
  }

  private static int number(String word) {
    try {
      return Integer.parseInt(word);
    } catch (NumberFormatException e) {
      return 0;
    }
  }

  private static String line(InputStream in) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    while (true) {
      int b = in.read();
      if (b < 0) {
        throw new EOFException("the server closed the connection within its answer");
      }
      if (b == '\n') {
        String line = bytes.toString(StandardCharsets.ISO_8859_1);
        return line.endsWith("\r") ? line.substring(0, line.length() - 1) : line;
      }
      if (bytes.size() == LINE_LIMIT) {
        throw new IOException("the server's answer has too long a line");
      }
      bytes.write(b);
    }
  }
}
