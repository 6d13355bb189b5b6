package io.xenferry.server;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.Socket;
import java.nio.charset.StandardCharsets;

/** A client that sends CONNECT with a path over plain HTTP, as xe does. */
final class Connect implements AutoCloseable {
  private final Socket socket;
  final String status;

  Connect(TestServer server, String path, String... headers) throws IOException {
    socket = new Socket(server.address, server.httpPort());
    socket.setSoTimeout(30_000);
    StringBuilder head = new StringBuilder("CONNECT " + path + " HTTP/1.0\r\n");
    for (String header : headers) {
      head.append(header).append("\r\n");
    }
    socket
        .getOutputStream()
        .write(head.append("\r\n").toString().getBytes(StandardCharsets.ISO_8859_1));
    status = line().split(" ")[1];
    String header = line();
    while (!header.isEmpty()) {
      header = line();
    }
  }

  /** Of a console whose location a record has. */
  static Connect to(TestServer server, String location, String session) throws IOException {
    return new Connect(server, path(location) + "&session_id=" + session);
  }

  static String path(String location) {
    return location.substring(location.indexOf('/', "https://".length()));
  }

  private String line() throws IOException {
    ByteArrayOutputStream line = new ByteArrayOutputStream();
    for (int b = in().read(); b != '\n'; b = in().read()) {
      if (b < 0) {
        throw new IOException("ended within " + line);
      }
      line.write(b);
    }
    return line.toString(StandardCharsets.ISO_8859_1).strip();
  }

  InputStream in() throws IOException {
    return socket.getInputStream();
  }

  void type(String text) throws IOException {
    socket.getOutputStream().write(text.getBytes(StandardCharsets.UTF_8));
  }

  /** Reads until all has been seen, or the connection ends. */
  String readUntil(String wanted) throws IOException {
    StringBuilder seen = new StringBuilder();
    for (int b = in().read(); b >= 0; b = in().read()) {
      seen.append((char) b);
      if (seen.indexOf(wanted) >= 0) {
        return seen.toString();
      }
    }
    return seen + "<end>";
  }

  boolean ends() throws IOException {
    return readUntil("\0 never").endsWith("<end>");
  }

  @Override
  public void close() throws IOException {
    socket.close();
  }
}
