package io.xenferry.server.http;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.wire.Content;
import io.xenferry.wire.Dialect;
import io.xenferry.wire.JsonRpcCall;
import io.xenferry.wire.JsonRpcCodec;
import io.xenferry.wire.WireException;
import io.xenferry.wire.XmlRpcCall;
import io.xenferry.wire.XmlRpcCodec;
import java.io.IOException;
import java.io.OutputStream;
import java.util.List;

/** How calls and answers look in a body. Thread-safe. */
interface RpcProtocol {

  /** Exactly that: clients refuse a charset. */
  String contentType();

  /**
   * @throws WireException when the body is no call
   */
  Incoming read(byte[] body) throws WireException;

  /** A call, and how it is answered. */
  interface Incoming {
    String method();

    /**
     * @throws XenApiException for values that no message takes
     */
    List<Value> params() throws XenApiException;

    void succeed(OutputStream out, Content result) throws IOException;

    void fail(OutputStream out, XenApiException failure) throws IOException;
  }

  /** XML-RPC; what {@code system.} methods answer has no wrapper. */
  final class Xml implements RpcProtocol {
    private final XmlRpcCodec codec = new XmlRpcCodec(Dialect.XENAPI);

    @Override
    public String contentType() {
      return "text/xml";
    }

    @Override
    public Incoming read(byte[] body) throws WireException {
      return new Call(codec, codec.readCall(body));
    }

    private record Call(XmlRpcCodec codec, XmlRpcCall call) implements Incoming {
      @Override
      public String method() {
        return call.method();
      }

      @Override
      public List<Value> params() {
        return call.params();
      }

      @Override
      public void succeed(OutputStream out, Content result) throws IOException {
        if (method().startsWith("system.")) {
          codec.writeBare(out, result);
        } else {
          codec.writeSuccess(out, result);
        }
      }

      @Override
      public void fail(OutputStream out, XenApiException failure) throws IOException {
        codec.writeFailure(out, failure);
      }
    }
  }

  /** JSON-RPC 1.0 and 2.0. */
  final class Json implements RpcProtocol {
    private final JsonRpcCodec codec = new JsonRpcCodec();

    @Override
    public String contentType() {
      return "application/json";
    }

    @Override
    public Incoming read(byte[] body) throws WireException {
      return new Call(codec, codec.readCall(body));
    }

    private record Call(JsonRpcCodec codec, JsonRpcCall call) implements Incoming {
      @Override
      public String method() {
        return call.method();
      }

      @Override
      public List<Value> params() throws XenApiException {
        return call.params();
      }

      @Override
      public void succeed(OutputStream out, Content result) throws IOException {
        codec.writeSuccess(out, call, result);
      }

      @Override
      public void fail(OutputStream out, XenApiException failure) throws IOException {
        codec.writeFailure(out, call, failure);
      }
    }
  }
}
