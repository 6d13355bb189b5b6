package io.xenferry.server.http;

import io.xenferry.server.call.Dispatcher;
import io.xenferry.server.config.LimitsConfig;
import io.xenferry.server.config.ListenConfig;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.concurrent.atomic.AtomicReference;
import org.eclipse.jetty.http.HttpHeader;
import org.eclipse.jetty.http.HttpStatus;
import org.eclipse.jetty.http.UriCompliance;
import org.eclipse.jetty.server.AbstractConnector;
import org.eclipse.jetty.server.ConnectionFactory;
import org.eclipse.jetty.server.Connector;
import org.eclipse.jetty.server.DetectorConnectionFactory;
import org.eclipse.jetty.server.HttpConfiguration;
import org.eclipse.jetty.server.HttpConnectionFactory;
import org.eclipse.jetty.server.NetworkConnectionLimit;
import org.eclipse.jetty.server.Request;
import org.eclipse.jetty.server.Response;
import org.eclipse.jetty.server.SecureRequestCustomizer;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.server.SslConnectionFactory;
import org.eclipse.jetty.util.Callback;
import org.eclipse.jetty.util.HostPort;
import org.eclipse.jetty.util.ssl.SslContextFactory;
import org.eclipse.jetty.util.thread.VirtualThreadPool;
import org.jspecify.annotations.Nullable;

/**
 * Jetty, put together in one place.
 *
 * <pre>
 *  TLS port      ── SslConnectionFactory ─┐
 *  plain port    ─────────────────────────┼─ detector ─┬─ "POST /cli " ── CliConnections ── CliService
 *  Unix socket   ─────────────────────────┘            ├─ "CONNECT /" ── ConnectConnections ── ConnectService
 *                                                      └─ HTTP/1.1 ── Router
 *                                                                       ├ POST /, /RPC2…, /jsonrpc  RpcHandler ── Dispatcher
 *                                                                       ├ OPTIONS /       preflight
 *                                                                       ├ GET /           StaticFiles, or a page
 *                                                                       └ whatever the caller routes:
 *                                                                         /services/SM, /v1/…
 * </pre>
 *
 * Handlers run on virtual threads and may block. Connections are limited in number, also those of
 * one remote address and those of the Unix socket, which neither takes from the others. They end
 * when nothing happens on them, and when a request's head does not become whole in time.
 */
public final class HttpServer implements AutoCloseable {
  /** What is under way when the server stops may take so long. */
  private static final Duration GRACE = Duration.ofSeconds(3);

  /** A connection on which nothing happens for so long is not waited for. */
  private static final Duration RESTING = Duration.ofMillis(200);

  private final Server server;
  private final ServerConnector tls;
  private final @Nullable ServerConnector plain;
  private final Router router = new Router();
  private final HeadDeadline heads;

  /** Closes the connection until somebody else answers. */
  private final AtomicReference<ConnectService> connects =
      new AtomicReference<>((target, headers, stream, origin) -> {});

  public HttpServer(
      ListenConfig listen,
      LimitsConfig limits,
      Certificate certificate,
      Dispatcher dispatcher,
      CliService cli) {
    VirtualThreadPool threads = new VirtualThreadPool();
    // Waiting calls (event.from) hold a thread each; the limit on connections is the real one.
    threads.setMaxConcurrentTasks(-1);
    server = new Server(threads);
    heads = new HeadDeadline(limits.headDeadline(), limits.idleTimeout());

    HttpConfiguration http = new HttpConfiguration();
    http.setSendServerVersion(false);
    http.setSendDateHeader(true);
    // The router refuses what is wrong with an address. Jetty would do so with the body unread, and
    // the reset that follows may overtake the answer.
    http.setUriCompliance(UriCompliance.UNSAFE);
    http.setIdleTimeout(limits.idleTimeout().toMillis());

    tls =
        connector(
            new ServerConnector(
                server, 1, 1, withTls(certificate, detecting(cli, limits, secure(http)))),
            listen.address(),
            listen.port(),
            limits);
    server.addConnector(tls);
    if (listen.httpPort().isPresent()) {
      plain =
          connector(
              new ServerConnector(server, 1, 1, detecting(cli, limits, http)),
              listen.address(),
              listen.httpPort().getAsInt(),
              limits);
      server.addConnector(plain);
    } else {
      plain = null;
    }
    listen
        .unixSocket()
        .ifPresent(path -> {
          HttpConfiguration local = new HttpConfiguration(http);
          // A Unix socket has no name that could stand in for a missing Host header.
          local.setServerAuthority(new HostPort("localhost", 80));
          UnixConnector unix = new UnixConnector(server, path, detecting(cli, limits, local));
          unix.setIdleTimeout(limits.idleTimeout().toMillis());
          server.addConnector(unix);
          server.addBean(new NetworkConnectionLimit(limits.connectionsPerAddress(), unix));
        });

    router
        .route("POST", "/", new RpcHandler(dispatcher, limits, new RpcProtocol.Xml()))
        .route("POST", "/jsonrpc", new RpcHandler(dispatcher, limits, new RpcProtocol.Json()))
        .route("OPTIONS", "/", HttpServer::preflight)
        .route(
            "GET",
            "/",
            listen
                .files()
                .<Request.Handler>map(files -> new StaticFiles(files, server))
                .orElse(HttpServer::page));
    heads.setHandler(router);
    server.setHandler(heads);
    List<Connector> network = plain == null ? List.of(tls) : List.of(tls, plain);
    RemoteShares shares = new RemoteShares(limits.connectionsPerAddress());
    network.forEach(c -> c.addBean(shares));
    server.addBean(
        new NetworkConnectionLimit(limits.connections(), network.toArray(Connector[]::new)));
    for (Connector connector : server.getConnectors()) {
      ((AbstractConnector) connector).setShutdownIdleTimeout(RESTING.toMillis());
    }
    server.setStopTimeout(GRACE.toMillis());
  }

  private static ServerConnector connector(
      ServerConnector c, String address, int port, LimitsConfig limits) {
    c.setHost(address);
    c.setPort(port);
    c.setIdleTimeout(limits.idleTimeout().toMillis());
    c.setAcceptQueueSize(256);
    return c;
  }

  private static HttpConfiguration secure(HttpConfiguration http) {
    HttpConfiguration secure = new HttpConfiguration(http);
    // xe sends whatever it was given as -s in SNI, addresses too.
    SecureRequestCustomizer customizer = new SecureRequestCustomizer();
    customizer.setSniHostCheck(false);
    secure.addCustomizer(customizer);
    return secure;
  }

  private ConnectionFactory[] detecting(
      CliService cli, LimitsConfig limits, HttpConfiguration http) {
    return new ConnectionFactory[] {
      new DetectorConnectionFactory(
          new CliConnections(cli, limits, heads),
          new ConnectConnections(
              (target, headers, stream, origin) ->
                  Objects.requireNonNull(connects.get()).serve(target, headers, stream, origin),
              limits,
              heads)),
      new HttpConnectionFactory(http)
    };
  }

  private static ConnectionFactory[] withTls(Certificate certificate, ConnectionFactory[] inner) {
    SslContextFactory.Server ssl = new SslContextFactory.Server();
    ssl.setKeyStore(certificate.store());
    ssl.setKeyStorePassword(certificate.password());
    ssl.setIncludeProtocols("TLSv1.2", "TLSv1.3");
    ConnectionFactory[] all = new ConnectionFactory[inner.length + 1];
    all[0] = new SslConnectionFactory(ssl, inner[0].getProtocol());
    System.arraycopy(inner, 0, all, 1, inner.length);
    return all;
  }

  /** CORS, as published servers answer it. */
  private static boolean preflight(Request request, Response response, Callback callback) {
    String wanted = request.getHeaders().get("Access-Control-Request-Headers");
    response.getHeaders().put("Access-Control-Allow-Origin", "*");
    response
        .getHeaders()
        .put(
            "Access-Control-Allow-Headers",
            (wanted == null ? "" : wanted + ", ") + "X-Requested-With");
    response.getHeaders().put("Access-Control-Allow-Methods", "PUT");
    response.getHeaders().put(HttpHeader.CONTENT_LENGTH, 0);
    response.write(true, null, callback);
    return true;
  }

  private static boolean page(Request request, Response response, Callback callback) {
    if (!Request.getPathInContext(request).equals("/")) {
      Answers.error(response, callback, HttpStatus.NOT_FOUND_404);
      return true;
    }
    Answers.page(
        response,
        callback,
        HttpStatus.OK_200,
        "<html><head><title>XenFerry</title></head><body><h1>XenFerry</h1><p>A XenAPI server."
            + " Clients post XML-RPC here.</p></body></html>");
    return true;
  }

  /** Who answers CONNECT requests that name a path, before the start. */
  public void connectWith(ConnectService service) {
    connects.set(service);
  }

  /** Where other parts add their routes, before the start. */
  public Router router() {
    return router;
  }

  /** Takes the ports, so that they are known before the start; answers nobody yet. */
  public void bind() throws java.io.IOException {
    tls.open();
    if (plain != null) {
      plain.open();
    }
  }

  /** Listens when it returns. */
  public void start() throws java.io.IOException {
    try {
      server.start();
    } catch (java.io.IOException e) {
      throw e;
    } catch (Exception e) {
      throw new java.io.IOException("the HTTP server does not start", e);
    }
  }

  public int port() {
    return tls.getLocalPort();
  }

  public OptionalInt httpPort() {
    return Optional.ofNullable(plain)
        .map(c -> OptionalInt.of(c.getLocalPort()))
        .orElse(OptionalInt.empty());
  }

  /** Stops listening, and ends what is under way after a short grace. */
  @Override
  public void close() throws java.io.IOException {
    try {
      server.stop();
    } catch (Exception e) {
      throw new java.io.IOException("the HTTP server does not stop", e);
    } finally {
      // Jetty knows nothing of ports that were taken for a start that did not come.
      tls.close();
      if (plain != null) {
        plain.close();
      }
    }
  }
}
