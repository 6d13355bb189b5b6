package io.xenferry.server.http;

import java.io.IOException;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.List;
import org.eclipse.jetty.http.HttpStatus;
import org.eclipse.jetty.server.Request;
import org.eclipse.jetty.server.Response;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.handler.ResourceHandler;
import org.eclipse.jetty.util.Callback;
import org.eclipse.jetty.util.URIUtil;
import org.eclipse.jetty.util.resource.ResourceFactory;

/**
 * What lies in a directory, for browsers; nobody needs a session for it. A directory is its {@code
 * index.html}. Names that begin with a dot, and links that lead out of the directory, are not
 * there.
 */
final class StaticFiles implements Request.Handler {
  private final Path directory;
  private final ResourceHandler files = new ResourceHandler();

  /**
   * @param directory what is in it may change meanwhile
   * @param server starts and stops what serves it
   */
  StaticFiles(Path directory, Server server) {
    this.directory = directory;
    files.setServer(server);
    files.setBaseResource(ResourceFactory.of(server).newResource(directory));
    files.setWelcomeFiles(List.of("index.html"));
    files.setDirAllowed(false);
    // To be asked for again each time, by its date.
    files.setCacheControl("no-cache");
    server.addBean(files, true);
  }

  @Override
  public boolean handle(Request request, Response response, Callback callback) throws Exception {
    if (!isThere(URIUtil.decodePath(Request.getPathInContext(request)))
        || !files.handle(request, response, callback)) {
      Answers.error(response, callback, HttpStatus.NOT_FOUND_404);
    }
    return true;
  }

  private boolean isThere(String target) {
    try {
      Path root = directory.toRealPath();
      Path file = root;
      for (String name : target.split("/", -1)) {
        if (name.startsWith(".")) {
          return false;
        }
        file = file.resolve(name);
      }
      return file.toRealPath().startsWith(root);
    } catch (IOException | InvalidPathException e) {
      return false;
    }
  }
}
