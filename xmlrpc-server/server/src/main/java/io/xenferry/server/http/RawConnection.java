package io.xenferry.server.http;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;
import org.eclipse.jetty.io.AbstractConnection;
import org.eclipse.jetty.io.Connection;
import org.eclipse.jetty.io.EndPoint;
import org.eclipse.jetty.util.BufferUtil;
import org.eclipse.jetty.util.FutureCallback;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Hands a connection that is no longer HTTP, or never was, to code that reads and writes its bytes,
 * on a virtual thread of its own. The connection ends when the code returns. Deadlines are that
 * code's: the idle timeout is off.
 */
final class RawConnection extends AbstractConnection implements Connection.UpgradeTo {
  private static final Logger LOG = LoggerFactory.getLogger(RawConnection.class);

  private final Consumer<RawStream> work;
  private ByteBuffer early = BufferUtil.EMPTY_BUFFER;

  RawConnection(EndPoint endPoint, Executor executor, Consumer<RawStream> work) {
    super(endPoint, executor);
    this.work = work;
  }

  /** What the former protocol had read beyond its own bytes. */
  @Override
  public void onUpgradeTo(@Nullable ByteBuffer buffer) {
    if (BufferUtil.hasContent(buffer)) {
      early = BufferUtil.copy(buffer);
    }
  }

  @Override
  public void onOpen() {
    super.onOpen();
    Thread.ofVirtual().name("raw-" + getEndPoint().getRemoteSocketAddress()).start(this::run);
  }

  private void run() {
    try (Bytes bytes = new Bytes()) {
      work.accept(bytes);
    } catch (RuntimeException e) {
      LOG.warn("connection from {} ended", getEndPoint().getRemoteSocketAddress(), e);
    }
  }

  @Override
  public boolean onIdleExpired(TimeoutException timeout) {
    return false;
  }

  @Override
  public void onFillable() {
    throw new IllegalStateException("readers wait with a callback of their own");
  }

  private static void await(FutureCallback callback) throws IOException {
    try {
      callback.get();
    } catch (java.util.concurrent.ExecutionException e) {
      if (e.getCause() instanceof IOException io) {
        throw io;
      }
      throw new IOException(e.getCause());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new java.io.InterruptedIOException();
    }
  }

  private final class Bytes implements RawStream {
    private final InputStream input = new Input();
    private final OutputStream output = new Output();

    @Override
    public InputStream input() {
      return input;
    }

    @Override
    public OutputStream output() {
      return output;
    }

    @Override
    public void close() {
      getEndPoint().close();
    }
  }

  private final class Input extends InputStream {
    private final ByteBuffer buffer = BufferUtil.allocate(64 * 1024);

    @Override
    public int read() throws IOException {
      byte[] one = new byte[1];
      return read(one, 0, 1) < 0 ? -1 : one[0] & 0xFF;
    }

    @Override
    public int read(byte[] bytes, int offset, int length) throws IOException {
      if (length == 0) {
        return 0;
      }
      if (early.hasRemaining()) {
        int n = Math.min(length, early.remaining());
        early.get(bytes, offset, n);
        return n;
      }
      while (!buffer.hasRemaining()) {
        int n = getEndPoint().fill(buffer);
        if (n < 0) {
          return -1;
        }
        if (n == 0) {
          FutureCallback readable = new FutureCallback();
          getEndPoint().fillInterested(readable);
          await(readable);
        }
      }
      int n = Math.min(length, buffer.remaining());
      buffer.get(bytes, offset, n);
      return n;
    }

    @Override
    public void close() {
      getEndPoint().close();
    }
  }

  private final class Output extends OutputStream {
    @Override
    public void write(int b) throws IOException {
      write(new byte[] {(byte) b}, 0, 1);
    }

    @Override
    public void write(byte[] bytes, int offset, int length) throws IOException {
      FutureCallback written = new FutureCallback();
      getEndPoint().write(written, ByteBuffer.wrap(bytes, offset, length));
      await(written);
    }

    @Override
    public void close() {
      getEndPoint().close();
    }
  }
}
