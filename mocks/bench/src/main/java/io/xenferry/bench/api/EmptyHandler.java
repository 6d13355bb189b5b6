package io.xenferry.bench.api;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import org.apache.xmlrpc.server.XmlRpcServerConfigImpl;
import org.apache.xmlrpc.webserver.WebServer;

/**
 * A process with the XML-RPC library's own server, whose handler answers the empty text to every
 * call.
 */
public final class EmptyHandler {
  private EmptyHandler() {}

  public static void main(String[] arguments) throws IOException {
    WebServer server =
        new WebServer(0, InetAddress.getLoopbackAddress()) {
          @Override
          protected ServerSocket createServerSocket(int port, int backlog, InetAddress address)
              throws IOException {
            ServerSocket socket = super.createServerSocket(port, backlog, address);
            System.out.println("ready " + socket.getLocalPort());
            return socket;
          }
        };
    if (server.getXmlRpcServer().getConfig() instanceof XmlRpcServerConfigImpl config) {
      config.setKeepAliveEnabled(true);
      config.setEnabledForExtensions(true);
    }
    server.getXmlRpcServer().setHandlerMapping(method -> request -> "");
    server.start();
  }
}
