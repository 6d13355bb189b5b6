package io.xenferry.server.routes;

import io.xenferry.server.audit.Audit;
import io.xenferry.server.http.AdmittedRoutes;
import io.xenferry.server.http.Answers;
import io.xenferry.server.http.Router;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.Semaphore;
import java.util.regex.Pattern;
import org.eclipse.jetty.http.HttpStatus;

/**
 * {@code GET /audit_log}: the lines of the audit log, the oldest first, or those since a time that
 * {@code since} says.
 */
public final class AuditRoutes {
  private static final String PATH = "/audit_log";

  /** ISO 8601, with and without dashes, as far as somebody cares to say. */
  private static final Pattern SINCE =
      Pattern.compile(
          "[0-9]{4}-?[0-9]{2}-?[0-9]{2}"
              + "([T ][0-9]{2}(:[0-9]{2}(:[0-9]{2}([.][0-9]{1,9})?)?)?)?Z?");

  /** Each reads all files. */
  private static final int AT_ONCE = 4;

  private final Audit audit;
  private final AdmittedRoutes routes;
  private final Semaphore readers = new Semaphore(AT_ONCE);

  public AuditRoutes(Audit audit, AdmittedRoutes routes) {
    this.audit = audit;
    this.routes = routes;
  }

  public void mount(Router router) {
    router.route("GET", PATH, routes.handler(PATH, "get_audit_log", this::send));
  }

  private void send(AdmittedRoutes.Exchange exchange) {
    String since = exchange.value("since") == null ? "" : String.valueOf(exchange.value("since"));
    if (!since.isEmpty() && !SINCE.matcher(since).matches()) {
      Answers.error(
          exchange.response(),
          exchange.callback(),
          HttpStatus.BAD_REQUEST_400,
          "since must be a time such as 2026-01-31T12:00:00Z.");
      return;
    }
    if (!readers.tryAcquire()) {
      Answers.error(exchange.response(), exchange.callback(), HttpStatus.SERVICE_UNAVAILABLE_503);
      return;
    }
    try {
      // As the lines have it.
      String from = since.replace("-", "").replace("Z", "").replace(' ', 'T');
      exchange.stream("text/plain", out -> copy(from, out, exchange));
    } finally {
      readers.release();
    }
  }

  private void copy(String from, OutputStream out, AdmittedRoutes.Exchange exchange)
      throws IOException {
    // Bytes go through as they are; a line's time is plain.
    try (BufferedReader lines =
        new BufferedReader(new InputStreamReader(audit.read(), StandardCharsets.ISO_8859_1))) {
      String line;
      while ((line = lines.readLine()) != null) {
        int time = line.indexOf('[') + 1;
        if (from.isEmpty()
            || line.substring(time, Math.min(line.length(), time + 22)).compareTo(from) >= 0) {
          out.write(line.getBytes(StandardCharsets.ISO_8859_1));
          out.write('\n');
          exchange.requireTime();
        }
      }
    }
  }
}
