package io.xenferry.nbd;

import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.URI;
import java.net.URLDecoder;
import java.net.URLEncoder;
import java.net.UnixDomainSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;

/**
 * Where an export is (doc/uri.md of the NetworkBlockDevice project): {@code
 * nbd://host:port/export}, {@code nbds:} likewise, or {@code nbd+unix:///export?socket=/path}.
 * Parameters that are not known are not looked at, as other programs do.
 *
 * @param address of the server; unresolved names are resolved when connecting
 * @param export its name, often empty
 * @param tls whether it must be reached by TLS
 */
public record NbdUri(SocketAddress address, String export, boolean tls) {
  private static final int DEFAULT_PORT = 10809;

  public NbdUri(SocketAddress address, String export) {
    this(address, export, false);
  }

  public static NbdUri unix(Path socket, String export) {
    return new NbdUri(UnixDomainSocketAddress.of(socket), export);
  }

  public static NbdUri tcp(String host, int port, String export) {
    return new NbdUri(InetSocketAddress.createUnresolved(host, port), export);
  }

  /**
   * Reads a URI.
   *
   * @throws IllegalArgumentException if it is none of the two forms
   */
  public static NbdUri parse(String text) {
    URI uri = URI.create(text);
    String path = uri.getPath() == null ? "" : uri.getPath();
    String export = path.startsWith("/") ? path.substring(1) : path;
    String scheme = String.valueOf(uri.getScheme());
    switch (scheme) {
      case "nbd", "nbds" -> {
        if (uri.getHost() == null) {
          throw new IllegalArgumentException("an NBD URI without a host");
        }
        String host = uri.getHost().replaceAll("[\\[\\]]", "");
        int port = uri.getPort() < 0 ? DEFAULT_PORT : uri.getPort();
        return new NbdUri(
            InetSocketAddress.createUnresolved(host, port), export, scheme.equals("nbds"));
      }
      case "nbd+unix" -> {
        for (String pair : String.valueOf(uri.getRawQuery()).split("&")) {
          if (pair.startsWith("socket=")) {
            String socket =
                URLDecoder.decode(
                    pair.substring("socket=".length()).replace("+", "%2B"), StandardCharsets.UTF_8);
            return unix(Path.of(socket), export);
          }
        }
        throw new IllegalArgumentException(text + ": no socket");
      }
      default -> throw new IllegalArgumentException(text + ": not an NBD URI");
    }
  }

  /** For logs: without the name of an export that is reached by TLS, which may be a secret. */
  public String display() {
    return tls ? new NbdUri(address, "", true) + "…" : toString();
  }

  /** The URI as text that other programs read. */
  @Override
  public String toString() {
    if (address instanceof UnixDomainSocketAddress unix) {
      return "nbd+unix:///" + escape(export) + "?socket=" + escape(unix.getPath().toString());
    }
    if (address instanceof InetSocketAddress inet) {
      String host = inet.getHostString();
      return (tls ? "nbds://" : "nbd://")
          + (host.contains(":") ? "[" + host + "]" : host)
          + ":"
          + inet.getPort()
          + "/"
          + escape(export);
    }
    return address + "/" + export;
  }

  private static String escape(String text) {
    return URLEncoder.encode(text, StandardCharsets.UTF_8).replace("+", "%20").replace("%2F", "/");
  }
}
