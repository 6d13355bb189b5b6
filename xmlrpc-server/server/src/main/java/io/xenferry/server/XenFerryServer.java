package io.xenferry.server;

import io.xenferry.migration.Coordinator;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.server.audit.Audit;
import io.xenferry.server.blob.BlobMessages;
import io.xenferry.server.blob.BlobRoutes;
import io.xenferry.server.blob.Blobs;
import io.xenferry.server.boot.AutoStart;
import io.xenferry.server.boot.CertificateRecord;
import io.xenferry.server.boot.FirstStart;
import io.xenferry.server.boot.HostFacts;
import io.xenferry.server.call.Dispatcher;
import io.xenferry.server.call.Origin;
import io.xenferry.server.call.Registry;
import io.xenferry.server.call.ServerContext;
import io.xenferry.server.cli.CliServer;
import io.xenferry.server.cli.KnownServers;
import io.xenferry.server.config.ServerConfig;
import io.xenferry.server.event.Alerts;
import io.xenferry.server.event.Events;
import io.xenferry.server.http.AdmittedRoutes;
import io.xenferry.server.http.Certificate;
import io.xenferry.server.http.CliService;
import io.xenferry.server.http.HttpServer;
import io.xenferry.server.http.TlsWarmUp;
import io.xenferry.server.messages.AllowedOperations;
import io.xenferry.server.messages.DiagnosticMessages;
import io.xenferry.server.messages.MeasuredDatabase;
import io.xenferry.server.messages.Messages;
import io.xenferry.server.messages.ResourceOperations;
import io.xenferry.server.migration.Decorators;
import io.xenferry.server.routes.AuditRoutes;
import io.xenferry.server.routes.DatabaseRoutes;
import io.xenferry.server.routes.MessageRoutes;
import io.xenferry.server.routes.RefusedRoutes;
import io.xenferry.server.routes.ServiceRoutes;
import io.xenferry.server.schema.Schema;
import io.xenferry.server.session.Accounts;
import io.xenferry.server.session.HostAccounts;
import io.xenferry.server.session.Sessions;
import io.xenferry.server.session.Subjects;
import io.xenferry.server.session.Users;
import io.xenferry.server.storage.HostStorage;
import io.xenferry.server.task.Tasks;
import io.xenferry.wire.Fingerprint;
import java.io.IOException;
import java.time.Clock;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.concurrent.atomic.AtomicReference;

/**
 * A server, put together in one place. It runs when the constructor returns, and owns the database
 * that it was given.
 *
 * <pre>
 *  Users ── Sessions ──┐
 *  ObjectDatabase ─────┼── ServerContext ── Dispatcher ── HttpServer
 *         ├── Tasks ───┤                       │
 *         └── Events ──┘                    Registry (Messages, Toolstack)
 * </pre>
 */
public final class XenFerryServer implements AutoCloseable {
  private final ServerContext context;
  private final Dispatcher dispatcher;
  private final HttpServer http;
  private final Certificate certificate;
  private final Audit audit;
  private final Toolstack toolstack;
  private final AutoStart autoStart;
  private final Accounts accounts;

  public XenFerryServer(ServerConfig config, ObjectDatabase db, Clock clock)
      throws IOException, XenApiException, InterruptedException {
    this(config, db, clock, Decorators.none());
  }

  /**
   * @param decorators for those who watch what migrations do
   */
  public XenFerryServer(
      ServerConfig config, ObjectDatabase database, Clock clock, Decorators decorators)
      throws IOException, XenApiException, InterruptedException {
    this(config, database, clock, decorators, new HostAccounts(Optional.empty()));
  }

  /**
   * @param accounts whom this host knows; closed with the server
   */
  XenFerryServer(
      ServerConfig config,
      ObjectDatabase database,
      Clock clock,
      Decorators decorators,
      Accounts accounts)
      throws IOException, XenApiException, InterruptedException {
    this.accounts = accounts;
    StateDirectory.prepare(config.stateDirectory());
    certificate = Certificate.in(config.stateDirectory());
    Schema schema = new Schema();
    MeasuredDatabase measured = new MeasuredDatabase(database);
    ResourceOperations db = new ResourceOperations(measured);
    new FirstStart(config, clock, HostFacts.of(config.listen(), config.stateDirectory())).run(db);
    CertificateRecord.refresh(db, certificate.x509());
    db.refreshAll();
    Users users = new Users(config.stateDirectory(), config.sessions().hashIterations());
    Subjects subjects = new Subjects(db, schema, accounts);
    Sessions sessions = new Sessions(db, schema, users, subjects, config.sessions(), clock);
    audit =
        new Audit(config.stateDirectory().resolve("audit"), db, clock, config.product().hostName());
    sessions.tell(audit);
    Tasks tasks = new Tasks(db, schema, clock);
    Alerts alerts = new Alerts(config.stateDirectory().resolve("messages"), clock);
    Events events = new Events(db, schema, sessions, alerts, clock);
    context =
        new ServerContext(
            config, db, schema, clock, users, subjects, sessions, tasks, events, alerts, audit);
    Registry registry = new Registry();
    AllowedOperations allowed = new AllowedOperations(registry);
    Messages.register(registry, allowed, certificate);
    Blobs blobs = new Blobs(config.stateDirectory().resolve("blobs"), db, schema, clock);
    new BlobMessages(blobs).register(registry);
    dispatcher = new Dispatcher(context, registry);
    // The ports are known once bound; the toolstack tells them to its peers, and xe shows it.
    AtomicReference<CliService> xe = new AtomicReference<>();
    http =
        new HttpServer(
            config.listen(),
            config.limits(),
            certificate,
            dispatcher,
            (body, stream, origin) ->
                java.util.Objects.requireNonNull(xe.get()).serve(body, stream, origin));
    http.bind();
    try {
      toolstack =
          new Toolstack(config, context, registry, allowed, certificate, http.port(), decorators);
    } catch (IOException | XenApiException | RuntimeException e) {
      http.close();
      dispatcher.close();
      audit.close();
      accounts.close();
      throw e;
    }
    autoStart =
        new AutoStart(
            config.stateDirectory(),
            db,
            dispatcher.inProcess(Origin.LOCAL),
            sessions,
            toolstack.migrations()::holds);
    try {
      toolstack.mount(http.router());
      AdmittedRoutes routes = new AdmittedRoutes(context);
      new BlobRoutes(blobs, routes).mount(http.router());
      new AuditRoutes(audit, routes).mount(http.router());
      new MessageRoutes(alerts, db, routes).mount(http.router());
      new DatabaseRoutes(db, routes).mount(http.router());
      new ServiceRoutes(toolstack.storage().mux().drivers(), routes, config.product())
          .mount(http.router());
      new RefusedRoutes(routes).mount(http.router());
      new DiagnosticMessages(measured, http.router()).register(registry);
      http.connectWith(toolstack.consoles());
      xe.set(
          new CliServer(
              dispatcher,
              sessions,
              new KnownServers(config.stateDirectory(), config.remoteServers()),
              toolstack.migrations()::table));
      toolstack.recover();
      tasks.failOrphans();
      http.start();
      autoStart.begin();
    } catch (IOException | XenApiException | InterruptedException | RuntimeException e) {
      close();
      throw e;
    }
  }

  public ServerContext context() {
    return context;
  }

  public Dispatcher dispatcher() {
    return dispatcher;
  }

  /** Of this host's migrations. */
  Coordinator coordinator() {
    return toolstack.migrations().coordinator();
  }

  /** The SRs of this host. */
  HostStorage storage() {
    return toolstack.storage();
  }

  /** Of TLS. */
  public int port() {
    return http.port();
  }

  public OptionalInt httpPort() {
    return http.httpPort();
  }

  /** For a server that is to stay: makes ready in the background what would be slow at first. */
  void warmUp() {
    TlsWarmUp.later(certificate);
  }

  public Fingerprint fingerprint() {
    return certificate.fingerprint();
  }

  /** Stops listening, wakes who waits, ends calls, closes the database: in this order. */
  @Override
  public void close() throws IOException {
    autoStart.close();
    context.events().close();
    toolstack.migrations().endFollowing();
    try {
      http.close();
    } finally {
      dispatcher.close();
      toolstack.close();
      context.db().close();
      audit.close();
      accounts.close();
    }
  }
}
