package io.xenferry.server.cli;

import io.xenferry.cli.RemoteServers;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.server.call.OptionValues;
import io.xenferry.server.config.RemoteServersConfig;
import io.xenferry.wire.Fingerprint;
import io.xenferry.wire.Trust;
import io.xenferry.wire.XmlRpcXenApi;
import java.io.IOException;
import java.net.Inet4Address;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.URI;
import java.net.UnknownHostException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicReference;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.net.ssl.SSLSocket;
import org.jspecify.annotations.Nullable;

/**
 * Other servers and the certificates that they showed at first contact, in the file {@code
 * known-servers} of the state directory: a line {@code host:port fingerprint} each. The file is
 * read at each contact, so that it may be edited; a changed certificate is refused until its line
 * is removed. Thread-safe.
 */
public final class KnownServers implements RemoteServers {
  private static final Pattern ADDRESS =
      Pattern.compile("(\\[[0-9A-Fa-f:.%]+]|[0-9A-Za-z._-]+)(?::([0-9]{1,5}))?");
  private static final int HTTPS = 443;

  private static final OptionValues ADDRESSES =
      new OptionValues(
          server -> ADDRESS.matcher(server).matches(),
          "HOST or HOST:PORT, an IPv6 address in brackets, a port from 1 to 65535");

  private static final OptionValues FINGERPRINT =
      new OptionValues(
          value -> value.replace(":", "").strip().matches("(?i)[0-9a-f]{64}"),
          "SHA-256 of the certificate, 64 hexadecimal digits with or without colons");

  private final RemoteServersConfig config;
  private final Path file;
  private final Object lock = new Object();

  /**
   * @throws IOException when the file cannot be read
   */
  public KnownServers(Path stateDirectory, RemoteServersConfig config) throws IOException {
    this.config = config;
    file = stateDirectory.resolve("known-servers");
    read();
  }

  private Map<String, Fingerprint> read() throws IOException {
    Map<String, Fingerprint> known = new LinkedHashMap<>();
    if (Files.exists(file)) {
      for (String line : Files.readAllLines(file)) {
        String[] words = line.strip().split("\\s+");
        if (words.length == 2) {
          try {
            known.put(words[0], new Fingerprint(words[1]));
          } catch (IllegalArgumentException e) {
            throw new IOException(file + ": not a fingerprint: " + words[1], e);
          }
        }
      }
    }
    return known;
  }

  private Map<String, Fingerprint> known() throws XenApiException {
    try {
      return read();
    } catch (IOException e) {
      throw new XenApiException("INTERNAL_ERROR", String.valueOf(e.getMessage())).withCause(e);
    }
  }

  @Override
  public Remote connect(String server, Optional<String> fingerprint) throws XenApiException {
    Matcher m = ADDRESS.matcher(server);
    if (!m.matches()) {
      throw ADDRESSES.refusal("remote-master", server);
    }
    String host = m.group(1);
    int port = m.group(2) == null ? HTTPS : Integer.parseInt(m.group(2));
    if (port < 1 || port > 65_535) {
      throw ADDRESSES.refusal("remote-master", server);
    }
    String name = canonical(host) + ":" + port;
    Fingerprint expected = expected(name, fingerprint);
    Fingerprint shown = shownBy(host.replaceAll("[\\[\\]]", ""), port);
    if (expected != null && !expected.equals(shown)) {
      throw untrusted(host, port, "it shows the certificate " + shown + " in place of " + expected);
    }
    if (expected == null && config.strictTrust()) {
      throw untrusted(
          host,
          port,
          "it is not known here, and trust is strict: compare "
              + shown
              + " with its own fingerprint, and give that as remote-fingerprint=");
    }
    boolean first = remember(name, shown);
    XmlRpcXenApi api =
        new XmlRpcXenApi(
            URI.create("https://" + host + ":" + port),
            Trust.pinned(shown),
            config.call(),
            config.answerBytes());
    return new Connection(
        api, first && fingerprint.isEmpty() ? Optional.of(shown.toString()) : Optional.empty());
  }

  /** One address has many spellings, and one certificate. */
  private static String canonical(String host) {
    if (!host.startsWith("[")) {
      return host.toLowerCase(Locale.ROOT);
    }
    try {
      InetAddress address = InetAddress.getByName(host);
      String text = address.getHostAddress();
      return address instanceof Inet4Address ? text : "[" + text + "]";
    } catch (UnknownHostException e) {
      return host; // no address; the connection says so
    }
  }

  private static XenApiException untrusted(String host, int port, String why) {
    return new XenApiException("TLS_CONNECTION_FAILED", host, Integer.toString(port))
        .withCause(new IOException(why));
  }

  private @Nullable Fingerprint expected(String name, Optional<String> given)
      throws XenApiException {
    if (given.isPresent()) {
      FINGERPRINT.check("remote-fingerprint", given.get());
      return new Fingerprint(given.get());
    }
    synchronized (lock) {
      return known().get(name);
    }
  }

  private Fingerprint shownBy(String host, int port) throws XenApiException {
    AtomicReference<@Nullable Fingerprint> seen = new AtomicReference<>();
    Trust any =
        Trust.decidedBy(f -> {
          seen.set(f);
          return true;
        });
    int patience = Math.toIntExact(config.handshake().toMillis());
    try (Socket plain = new Socket()) {
      plain.connect(new InetSocketAddress(host, port), patience);
      plain.setSoTimeout(patience);
      try (SSLSocket tls =
          (SSLSocket) any.context().getSocketFactory().createSocket(plain, host, port, true)) {
        tls.startHandshake();
      }
    } catch (javax.net.ssl.SSLException e) {
      throw new XenApiException("TLS_CONNECTION_FAILED", host, Integer.toString(port)).withCause(e);
    } catch (IOException e) {
      throw new XenApiException("CANNOT_CONTACT_HOST", host).withCause(e);
    }
    Fingerprint f = seen.get();
    if (f == null) {
      throw new XenApiException("TLS_CONNECTION_FAILED", host, Integer.toString(port));
    }
    return f;
  }

  /** Whether it was not known before. */
  private boolean remember(String name, Fingerprint shown) throws XenApiException {
    synchronized (lock) {
      Map<String, Fingerprint> known = known();
      if (shown.equals(known.get(name))) {
        return false;
      }
      boolean first = known.put(name, shown) == null;
      List<String> lines = new ArrayList<>();
      known.forEach((k, v) -> lines.add(k + " " + v));
      try {
        Path temporary = file.resolveSibling("known-servers.new");
        Files.write(
            temporary,
            lines,
            StandardOpenOption.CREATE,
            StandardOpenOption.TRUNCATE_EXISTING,
            StandardOpenOption.WRITE,
            StandardOpenOption.SYNC);
        Files.move(
            temporary, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
      } catch (IOException e) {
        throw new XenApiException("INTERNAL_ERROR", "known-servers could not be written")
            .withCause(e);
      }
      return first;
    }
  }

  private record Connection(XmlRpcXenApi api, Optional<String> acceptedAtFirstContact)
      implements Remote {
    @Override
    public Value call(String method, List<Value> params) throws XenApiException {
      return api.call(method, params);
    }

    @Override
    public void close() {
      api.close();
    }
  }
}
