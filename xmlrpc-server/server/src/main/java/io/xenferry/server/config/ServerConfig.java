package io.xenferry.server.config;

import java.nio.file.Path;

/**
 * Everything that can be configured. Each part has its defaults in {@code defaults()}; a test
 * records them.
 *
 * @param stateDirectory database, certificate, users; the server keeps it at mode 0700
 */
public record ServerConfig(
    Path stateDirectory,
    ListenConfig listen,
    LimitsConfig limits,
    SessionConfig sessions,
    ProductConfig product,
    ToolstackConfig toolstack,
    RemoteServersConfig remoteServers,
    PluginConfig plugins) {

  public static ServerConfig defaults(Path stateDirectory) {
    return new ServerConfig(
        stateDirectory,
        ListenConfig.defaults(),
        LimitsConfig.defaults(),
        SessionConfig.defaults(),
        ProductConfig.defaults(),
        ToolstackConfig.defaults(),
        RemoteServersConfig.defaults(),
        PluginConfig.defaults());
  }

  public ServerConfig with(ListenConfig changed) {
    return new ServerConfig(
        stateDirectory, changed, limits, sessions, product, toolstack, remoteServers, plugins);
  }

  public ServerConfig with(LimitsConfig changed) {
    return new ServerConfig(
        stateDirectory, listen, changed, sessions, product, toolstack, remoteServers, plugins);
  }

  public ServerConfig with(SessionConfig changed) {
    return new ServerConfig(
        stateDirectory, listen, limits, changed, product, toolstack, remoteServers, plugins);
  }

  public ServerConfig with(ProductConfig changed) {
    return new ServerConfig(
        stateDirectory, listen, limits, sessions, changed, toolstack, remoteServers, plugins);
  }

  public ServerConfig with(ToolstackConfig changed) {
    return new ServerConfig(
        stateDirectory, listen, limits, sessions, product, changed, remoteServers, plugins);
  }

  public ServerConfig with(RemoteServersConfig changed) {
    return new ServerConfig(
        stateDirectory, listen, limits, sessions, product, toolstack, changed, plugins);
  }

  public ServerConfig with(PluginConfig changed) {
    return new ServerConfig(
        stateDirectory, listen, limits, sessions, product, toolstack, remoteServers, changed);
  }
}
