package io.xenferry.server.http;

import io.xenferry.model.XenApiException;
import io.xenferry.server.call.Dispatcher;
import io.xenferry.server.config.LimitsConfig;
import io.xenferry.wire.Content;
import io.xenferry.wire.Dialect;
import io.xenferry.wire.WireException;
import io.xenferry.wire.XmlRpcCall;
import io.xenferry.wire.XmlRpcCodec;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import org.eclipse.jetty.http.HttpField;
import org.eclipse.jetty.http.HttpHeader;
import org.eclipse.jetty.http.HttpStatus;
import org.eclipse.jetty.server.Request;
import org.eclipse.jetty.server.Response;
import org.eclipse.jetty.util.Callback;

/** XML-RPC over HTTP. The content type is exactly {@code text/xml}: clients refuse a charset. */
final class RpcHandler implements Request.Handler {
  private static final String XML = "text/xml";

  private final Dispatcher dispatcher;
  private final LimitsConfig limits;
  private final XmlRpcCodec codec = new XmlRpcCodec(Dialect.XENAPI);

  RpcHandler(Dispatcher dispatcher, LimitsConfig limits) {
    this.dispatcher = dispatcher;
    this.limits = limits;
  }

  @Override
  public boolean handle(Request request, Response response, Callback callback) throws Exception {
    XmlRpcCall call;
    try {
      call = codec.readCall(Answers.body(request, limits.rpcBodyBytes(), limits.requestDeadline()));
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
      try (Spill out = new Spill(response, callback)) {
        if (call.method().startsWith("system.")) {
          codec.writeBare(out, content);
        } else {
          codec.writeSuccess(out, content);
        }
        out.complete();
      }
    } catch (XenApiException e) {
      ByteArrayOutputStream out = new ByteArrayOutputStream();
      codec.writeFailure(out, e);
      Answers.bytes(response, callback, HttpStatus.OK_200, XML, out.toByteArray());
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
    private final ByteArrayOutputStream kept = new ByteArrayOutputStream(1024);
    private OutputStream sink = OutputStream.nullOutputStream();
    private boolean spilled;
    private boolean completed;

    Spill(Response response, Callback callback) {
      this.response = response;
      this.callback = callback;
    }

    @Override
    public void write(int b) throws IOException {
      write(new byte[] {(byte) b}, 0, 1);
    }

    @Override
    public void write(byte[] b, int off, int len) throws IOException {
      if (!spilled && kept.size() + len > KEEP) {
        spilled = true;
        response.getHeaders().put(new HttpField(HttpHeader.CONTENT_TYPE, XML));
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
        Answers.bytes(response, callback, HttpStatus.OK_200, XML, kept.toByteArray());
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
