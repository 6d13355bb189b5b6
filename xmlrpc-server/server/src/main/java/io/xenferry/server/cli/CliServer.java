package io.xenferry.server.cli;

import io.xenferry.cli.CliEnvironment;
import io.xenferry.cli.CliSession;
import io.xenferry.cli.Migrations;
import io.xenferry.cli.RemoteServers;
import io.xenferry.model.XenApiException;
import io.xenferry.server.call.Dispatcher;
import io.xenferry.server.call.Origin;
import io.xenferry.server.http.CliService;
import io.xenferry.server.http.RawStream;
import io.xenferry.server.session.Sessions;
import io.xenferry.spi.XenApi;
import java.util.function.Function;

/** Runs the commands of {@code xe} against this server. */
public final class CliServer implements CliService {
  private final Dispatcher dispatcher;
  private final Sessions sessions;
  private final RemoteServers remoteServers;
  private final Function<String, Migrations> migrations;

  /**
   * @param migrations of this server, as shown to who calls from an address
   */
  public CliServer(
      Dispatcher dispatcher,
      Sessions sessions,
      RemoteServers remoteServers,
      Function<String, Migrations> migrations) {
    this.dispatcher = dispatcher;
    this.sessions = sessions;
    this.remoteServers = remoteServers;
    this.migrations = migrations;
  }

  @Override
  public void serve(byte[] body, RawStream stream, Origin origin) {
    CliSession.run(body, stream.input(), stream.output(), stream, new Environment(origin));
  }

  private final class Environment implements CliEnvironment {
    private final Origin origin;
    private final XenApi api;

    Environment(Origin origin) {
      this.origin = origin;
      // What xe calls is checked as any client's call is, the password included.
      this.api = dispatcher.inProcess(new Origin(false, origin.address()));
    }

    @Override
    public XenApi api() {
      return api;
    }

    @Override
    public boolean preAuthenticated() {
      return origin.trusted();
    }

    @Override
    public String openLocalSession() throws XenApiException {
      return sessions.openRoot("cli").ref();
    }

    @Override
    public RemoteServers remoteServers() {
      return remoteServers;
    }

    @Override
    public Migrations migrations() {
      return migrations.apply(origin.address());
    }
  }
}
