package io.xenferry.bench.api;

import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import org.eclipse.jetty.http.HttpHeader;
import org.eclipse.jetty.io.Content;
import org.eclipse.jetty.server.Handler;
import org.eclipse.jetty.server.Request;
import org.eclipse.jetty.server.Response;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.util.Callback;

/**
 * A process with a Jetty like ours that reads a request to its end and answers the same bytes
 * always. Argument: the file with them.
 */
public final class FixedReply {
  private FixedReply() {}

  public static void main(String[] arguments) throws Exception {
    byte[] reply = Files.readAllBytes(Path.of(arguments[0]));
    Server server = new Server();
    ServerConnector connector = new ServerConnector(server);
    connector.setHost("127.0.0.1");
    server.addConnector(connector);
    server.setHandler(
        new Handler.Abstract() {
          @Override
          public boolean handle(Request request, Response response, Callback callback)
              throws Exception {
            Content.Source.consumeAll(request);
            response.getHeaders().put(HttpHeader.CONTENT_TYPE, "text/xml");
            response.getHeaders().put(HttpHeader.CONTENT_LENGTH, reply.length);
            response.write(true, ByteBuffer.wrap(reply), callback);
            return true;
          }
        });
    server.start();
    System.out.println("ready " + connector.getLocalPort());
    server.join();
  }
}
