package io.xenferry.server.http;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.time.Instant;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import org.eclipse.jetty.http.DateGenerator;
import org.eclipse.jetty.http.HttpField;
import org.eclipse.jetty.http.HttpHeader;
import org.eclipse.jetty.http.HttpStatus;
import org.eclipse.jetty.io.Content;
import org.eclipse.jetty.server.Request;
import org.eclipse.jetty.server.Response;
import org.eclipse.jetty.util.Callback;
import org.eclipse.jetty.util.URIUtil;

/**
 * What lies in a directory, for browsers; nobody needs a session for it. A directory is its {@code
 * index.html}. Names that begin with a dot, and links that lead out of the directory, are not
 * there.
 */
final class StaticFiles implements Request.Handler {
  private static final String OTHER = "application/octet-stream";

  private static final Map<String, String> TYPES =
      Map.ofEntries(
          Map.entry("css", "text/css"),
          Map.entry("gif", "image/gif"),
          Map.entry("html", "text/html"),
          Map.entry("ico", "image/x-icon"),
          Map.entry("jpg", "image/jpeg"),
          Map.entry("js", "text/javascript"),
          Map.entry("json", "application/json"),
          Map.entry("map", "application/json"),
          Map.entry("mjs", "text/javascript"),
          Map.entry("png", "image/png"),
          Map.entry("svg", "image/svg+xml"),
          Map.entry("ttf", "font/ttf"),
          Map.entry("txt", "text/plain"),
          Map.entry("wasm", "application/wasm"),
          Map.entry("webp", "image/webp"),
          Map.entry("woff", "font/woff"),
          Map.entry("woff2", "font/woff2"),
          Map.entry("xml", "text/xml"));

  private final Path directory;

  /**
   * @param directory may come, go and change meanwhile
   */
  StaticFiles(Path directory) {
    this.directory = directory;
  }

  @Override
  public boolean handle(Request request, Response response, Callback callback) {
    String target = URIUtil.decodePath(Request.getPathInContext(request));
    Path file;
    long size;
    Instant modified;
    try {
      Optional<Path> found = find(target);
      boolean isDirectory = found.isPresent() && Files.isDirectory(found.get());
      boolean slash = target.endsWith("/");
      if (isDirectory && !slash) {
        // Else what the page names would be looked for beside the directory.
        response.getHeaders().put(HttpHeader.LOCATION, request.getHttpURI().getPath() + "/");
        Answers.error(response, callback, HttpStatus.FOUND_302);
        return true;
      }
      if (isDirectory) {
        found = find(target + "index.html");
      }
      if (found.isEmpty() || !Files.isRegularFile(found.get()) || slash && !isDirectory) {
        Answers.error(response, callback, HttpStatus.NOT_FOUND_404);
        return true;
      }
      file = found.get();
      size = Files.size(file);
      modified = Files.getLastModifiedTime(file).toInstant();
    } catch (IOException e) {
      Answers.error(response, callback, HttpStatus.NOT_FOUND_404);
      return true;
    }
    String date = DateGenerator.formatDate(modified);
    response.getHeaders().put(HttpHeader.LAST_MODIFIED, date);
    // To be asked for again each time, by that date.
    response.getHeaders().put(HttpHeader.CACHE_CONTROL, "no-cache");
    if (date.equals(request.getHeaders().get(HttpHeader.IF_MODIFIED_SINCE))) {
      response.setStatus(HttpStatus.NOT_MODIFIED_304);
      response.write(true, null, callback);
      return true;
    }
    try (InputStream in = Files.newInputStream(file)) {
      response.getHeaders().put(new HttpField(HttpHeader.CONTENT_TYPE, type(file)));
      response.getHeaders().put(HttpHeader.CONTENT_LENGTH, size);
      send(in, size, Content.Sink.asOutputStream(response));
    } catch (IOException e) {
      callback.failed(e);
      return true;
    }
    callback.succeeded();
    return true;
  }

  /** So much as was promised, also of a file that grows. */
  private static void send(InputStream in, long size, OutputStream out) throws IOException {
    byte[] buffer = new byte[64 * 1024];
    long left = size;
    while (left > 0) {
      int n = in.read(buffer, 0, (int) Math.min(left, buffer.length));
      if (n < 0) {
        throw new IOException("the file has become shorter");
      }
      out.write(buffer, 0, n);
      left -= n;
    }
    out.close();
  }

  private Optional<Path> find(String target) throws IOException {
    Path root = directory.toRealPath();
    Path file = root;
    try {
      for (String name : target.split("/", -1)) {
        if (name.startsWith(".")) {
          return Optional.empty();
        }
        file = file.resolve(name);
      }
    } catch (InvalidPathException e) {
      return Optional.empty();
    }
    if (!Files.isReadable(file)) {
      return Optional.empty();
    }
    Path real = file.toRealPath();
    return real.startsWith(root) ? Optional.of(real) : Optional.empty();
  }

  private static String type(Path file) {
    String name = String.valueOf(file.getFileName());
    String ending = name.substring(name.lastIndexOf('.') + 1).toLowerCase(Locale.ROOT);
    return TYPES.getOrDefault(ending, OTHER);
  }
}
