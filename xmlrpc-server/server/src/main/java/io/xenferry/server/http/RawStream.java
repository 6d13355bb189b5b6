package io.xenferry.server.http;

import java.io.Closeable;
import java.io.InputStream;
import java.io.OutputStream;

/** A connection's bytes both ways, blocking. Closing either stream closes the connection. */
public interface RawStream extends Closeable {
  InputStream input();

  OutputStream output();

  @Override
  void close();
}
