package io.xenferry.server.http;

import io.xenferry.model.XenApiException;
import io.xenferry.server.call.Dispatcher;
import io.xenferry.server.config.LimitsConfig;
import io.xenferry.wire.Content;
import io.xenferry.wire.WireException;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import org.eclipse.jetty.http.HttpField;
import org.eclipse.jetty.http.HttpHeader;
import org.eclipse.jetty.http.HttpStatus;
import org.eclipse.jetty.server.Request;
import org.eclipse.jetty.server.Response;
import org.eclipse.jetty.util.Callback;

/** Calls that are posted, in the one protocol or the other. */
final class RpcHandler implements Request.Handler {
  private final Dispatcher dispatcher;
  private final LimitsConfig limits;
  private final RpcProtocol protocol;

  RpcHandler(Dispatcher dispatcher, LimitsConfig limits, RpcProtocol protocol) {
    this.dispatcher = dispatcher;
    this.limits = limits;
    this.protocol = protocol;
  }

  @Override
  public boolean handle(Request request, Response response, Callback callback) throws Exception {
    RpcProtocol.Incoming call;
    try {
      call = protocol.read(Answers.body(request, limits.rpcBodyBytes(), limits.requestDeadline()));
    } catch (Answers.TooLarge e) {
      Answers.error(response, callback, HttpStatus.PAYLOAD_TOO_LARGE_413);
      return true;
    } catch (WireException e) {
      Answers.error(response, callback, HttpStatus.INTERNAL_SERVER_ERROR_500);
      return true;
    } catch (IOException e) {
      Answers.error(response, callback, Answers.unreadable(e));
      return true;
    }
    response.getHeaders().put("Access-Control-Allow-Origin", "*");
    response.getHeaders().put("Access-Control-Allow-Headers", "X-Requested-With");
    try {
      Content content = dispatcher.call(call.method(), call.params(), Answers.origin(request));
      try (Spill out = new Spill(response, callback, protocol.contentType())) {
        call.succeed(out, content);
        out.complete();
      }
    } catch (XenApiException e) {
      ByteArrayOutputStream out = new ByteArrayOutputStream();
      call.fail(out, e);
      Answers.bytes(
          response, callback, HttpStatus.OK_200, protocol.contentType(), out.toByteArray());
    }
    return true;
  }

  /**
   * Keeps a small answer and sends it with its length; a large one goes out in chunks while it is
   * produced. If producing fails midway the connection breaks, so that nobody takes half an answer
   * for a whole one.
   */
  private static final class Spill extends OutputStream {
    // Nearly all answers are smaller.
    private static final int KEEP = 64 * 1024;

    private final Response response;
    private final Callback callback;
    private final String contentType;
    private final ByteArrayOutputStream kept = new ByteArrayOutputStream(1024);
    private OutputStream sink = OutputStream.nullOutputStream();
    private boolean spilled;
    private boolean completed;

    Spill(Response response, Callback callback, String contentType) {
      this.response = response;
      this.callback = callback;
      this.contentType = contentType;
    }

    @Override
    public void write(int b) throws IOException {
      write(new byte[] {(byte) b}, 0, 1);
    }

    @Override
    public void write(byte[] b, int off, int len) throws IOException {
      if (!spilled && kept.size() + len > KEEP) {
        spilled = true;
        response.getHeaders().put(new HttpField(HttpHeader.CONTENT_TYPE, contentType));
        response.getHeaders().put(HttpHeader.CACHE_CONTROL, "no-cache, no-store");
        sink = org.eclipse.jetty.io.Content.Sink.asOutputStream(response);
        kept.writeTo(sink);
      }
      if (spilled) {
        sink.write(b, off, len);
      } else {
        kept.write(b, off, len);
      }
    }

    void complete() throws IOException {
      completed = true;
      if (spilled) {
        sink.close();
        callback.succeeded();
      } else {
        Answers.bytes(response, callback, HttpStatus.OK_200, contentType, kept.toByteArray());
      }
    }

    @Override
    public void close() {
      if (!completed) {
        callback.failed(new IOException("the answer could not be produced"));
      }
    }
  }
}
