package io.xenferry.server.console;

import io.xenferry.model.XenApiException;
import io.xenferry.server.audit.Audit;
import io.xenferry.server.call.HttpAccess;
import io.xenferry.server.call.Origin;
import io.xenferry.server.http.ConnectService;
import io.xenferry.server.http.RawStream;
import io.xenferry.server.session.Session;
import io.xenferry.server.session.Sessions;
import io.xenferry.spi.Guest;
import io.xenferry.spi.Hypervisor;
import io.xenferry.spi.HypervisorException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.StandardProtocolFamily;
import java.net.URLDecoder;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.regex.Pattern;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * {@code CONNECT /console}: the bytes of a guest's console, both ways until one side ends or the
 * session does. A serial console is shown to one client at a time, and the newest has it; a screen
 * to several.
 */
public final class ConsoleService implements ConnectService, AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(ConsoleService.class);

  /** As the data model names it. */
  private static final String ACTION = "connect_console";

  /** Of this host; each holds two threads and two buffers. */
  static final int LIMIT = 128;

  /** Of one guest's screen: a team's worth of windows. */
  static final int SCREENS = 8;

  /** A reference or a uuid. */
  private static final Pattern NAMED = Pattern.compile("[-A-Za-z0-9:]{1,64}");

  private static final Duration SESSION_LOOK = Duration.ofSeconds(10);

  private final ConsoleRecords records;
  private final Hypervisor hypervisor;
  private final Sessions sessions;
  private final HttpAccess access;
  private final Audit audit;
  private final Object lock = new Object();
  private final Map<Path, Map<Shown, Boolean>> shown = new HashMap<>();
  private volatile boolean closed;

  public ConsoleService(
      ConsoleRecords records, Hypervisor hypervisor, Sessions sessions, Audit audit) {
    this.audit = audit;
    this.records = records;
    this.hypervisor = hypervisor;
    this.sessions = sessions;
    this.access = new HttpAccess(sessions);
  }

  @Override
  public void serve(String target, Map<String, String> headers, RawStream stream, Origin origin)
      throws IOException {
    int question = target.indexOf('?');
    String path = question < 0 ? target : target.substring(0, question);
    if (!path.equals("/console")) {
      refuse(stream, 403);
      return;
    }
    Map<String, String> query = query(question < 0 ? "" : target.substring(question + 1));
    Optional<String> session =
        Optional.ofNullable(query.get("session_id")).or(() -> cookie(headers, "session_id"));
    HttpAccess.Answer answer =
        access.admit(ACTION, session, Optional.ofNullable(headers.get("authorization")), origin);
    try {
      switch (answer) {
        case HttpAccess.Refused refused -> {
          if (refused.session().isPresent()) {
            note(refused.session(), query, origin).ifPresent(Audit.Entry::denied);
          }
          refuse(stream, refused.status());
        }
        case HttpAccess.Local local -> {
          note(Optional.empty(), query, origin).ifPresent(Audit.Entry::done);
          connect(query, stream, Optional.empty());
        }
        case HttpAccess.Admitted admitted -> {
          note(Optional.of(admitted.session()), query, origin).ifPresent(Audit.Entry::done);
          connect(query, stream, Optional.of(admitted.session().ref()));
        }
      }
    } finally {
      access.end(answer);
    }
  }

  /** For the audit log, which is told when somebody comes: he may stay for hours. */
  private Optional<Audit.Entry> note(
      Optional<Session> session, Map<String, String> query, Origin origin) {
    Map<String, String> told = new LinkedHashMap<>();
    for (String name : List.of("ref", "uuid")) {
      String value = query.getOrDefault(name, "");
      if (NAMED.matcher(value).matches() && !sessions.isLive(value)) {
        told.put(name, value);
      }
    }
    return audit.request(ACTION, session, told, origin.address());
  }

  static Map<String, String> query(String text) throws IOException {
    Map<String, String> query = new LinkedHashMap<>();
    try {
      for (String pair : text.split("&")) {
        int equals = pair.indexOf('=');
        if (equals > 0) {
          query.putIfAbsent(
              pair.substring(0, equals),
              URLDecoder.decode(
                  pair.substring(equals + 1).replace("+", "%2B"), StandardCharsets.UTF_8));
        }
      }
    } catch (IllegalArgumentException e) {
      throw new IOException("a wrong escape in the query", e);
    }
    return query;
  }

  private static Optional<String> cookie(Map<String, String> headers, String name) {
    for (String cookie : headers.getOrDefault("cookie", "").split(";")) {
      String[] words = cookie.strip().split("=", 2);
      if (words.length == 2 && words[0].equals(name)) {
        return Optional.of(words[1]);
      }
    }
    return Optional.empty();
  }

  private static void refuse(RawStream stream, int status) throws IOException {
    String reason =
        switch (status) {
          case 401 -> "Unauthorized\r\nWWW-Authenticate: Basic realm=\"XenFerry\"";
          case 403 -> "Forbidden";
          case 404 -> "Not Found";
          default -> "Service Unavailable";
        };
    stream
        .output()
        .write(
            ("HTTP/1.1 "
                    + status
                    + " "
                    + reason
                    + "\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                .getBytes(StandardCharsets.ISO_8859_1));
    stream.output().flush();
  }

  private void connect(Map<String, String> query, RawStream stream, Optional<String> session)
      throws IOException {
    String name = query.getOrDefault("uuid", query.getOrDefault("ref", ""));
    Optional<ConsoleRecords.Found> console;
    Optional<Path> socket = Optional.empty();
    try {
      console = records.find(name);
      if (console.isPresent()) {
        Optional<Guest> guest = hypervisor.find(console.get().uuid());
        if (guest.isPresent()) {
          socket = guest.get().console(console.get().kind());
        }
      }
    } catch (XenApiException | HypervisorException e) {
      log.info("no console for {}: {}", name, e.getMessage());
      refuse(stream, 503);
      return;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return;
    }
    if (console.isEmpty() || socket.isEmpty()) {
      refuse(stream, 404);
      return;
    }
    show(socket.get(), console.get().kind(), stream, session);
  }

  private void show(Path socket, Guest.Console kind, RawStream stream, Optional<String> session)
      throws IOException {
    SocketChannel guest = SocketChannel.open(StandardProtocolFamily.UNIX);
    Shown console = new Shown(guest, stream);
    if (!admit(socket, kind, console)) {
      guest.close();
      refuse(stream, 503);
      return;
    }
    try {
      guest.connect(UnixDomainSocketAddress.of(socket));
      stream
          .output()
          .write(
              ("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n"
                      + "Cache-Control: no-cache, no-store\r\n\r\n")
                  .getBytes(StandardCharsets.ISO_8859_1));
      stream.output().flush();
      session.ifPresent(ref -> Thread.ofVirtual().start(() -> endWith(ref, console)));
      Thread down =
          Thread.ofVirtual()
              .name("console down")
              .start(() -> relay(Channels.newInputStream(guest), stream.output(), console));
      relay(stream.input(), Channels.newOutputStream(guest), console);
      down.join();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } finally {
      console.end();
      leave(socket, console);
    }
  }

  /** Looks for a place; whoever had a serial console before loses it. */
  private boolean admit(Path socket, Guest.Console kind, Shown console) {
    synchronized (lock) {
      int all = shown.values().stream().mapToInt(Map::size).sum();
      Map<Shown, Boolean> here = shown.computeIfAbsent(socket, key -> new LinkedHashMap<>());
      if (kind == Guest.Console.TEXT) {
        here.keySet().forEach(Shown::end);
      }
      if (closed || all >= LIMIT || (kind == Guest.Console.SCREEN && here.size() >= SCREENS)) {
        return false;
      }
      here.put(console, true);
      return true;
    }
  }

  private void leave(Path socket, Shown console) {
    synchronized (lock) {
      Map<Shown, Boolean> here = shown.get(socket);
      if (here != null) {
        here.remove(console);
        if (here.isEmpty()) {
          shown.remove(socket);
        }
      }
    }
  }

  private void endWith(String session, Shown console) {
    try {
      while (!console.ended.get() && sessions.isLive(session)) {
        Thread.sleep(SESSION_LOOK);
      }
      console.end();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private static void relay(InputStream from, OutputStream to, Shown console) {
    byte[] buffer = new byte[16 * 1024];
    try {
      for (int n = from.read(buffer); n >= 0; n = from.read(buffer)) {
        to.write(buffer, 0, n);
        to.flush();
      }
    } catch (IOException e) {
      log.debug("a console ended: {}", e.toString());
    } finally {
      // The other direction has nobody to talk to any more.
      console.end();
    }
  }

  /** Ends all. */
  @Override
  public void close() {
    synchronized (lock) {
      closed = true;
      shown.values().forEach(here -> here.keySet().forEach(Shown::end));
    }
  }

  /** A console that a client sees. */
  private static final class Shown {
    private final SocketChannel guest;
    private final RawStream client;
    private final AtomicBoolean ended = new AtomicBoolean();

    Shown(SocketChannel guest, RawStream client) {
      this.guest = guest;
      this.client = client;
    }

    void end() {
      if (ended.compareAndSet(false, true)) {
        try {
          guest.close();
        } catch (IOException e) {
          log.debug("closing a console", e);
        }
        client.close();
      }
    }
  }
}
