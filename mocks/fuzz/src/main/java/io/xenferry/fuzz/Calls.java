package io.xenferry.fuzz;

import com.fasterxml.jackson.databind.ObjectMapper;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.wire.Content;
import io.xenferry.wire.Dialect;
import io.xenferry.wire.JsonRpcCall;
import io.xenferry.wire.JsonRpcCodec;
import io.xenferry.wire.WireException;
import io.xenferry.wire.XmlRpcCall;
import io.xenferry.wire.XmlRpcCodec;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;

/**
 * Calls and answers of XenAPI: read or refused, and what was read is the same when it is written
 * and read again.
 */
final class Calls {
  private static final ObjectMapper STRICT = new ObjectMapper();

  private Calls() {}

  private static List<Value> everyType() {
    SequencedMap<String, Value> members = new LinkedHashMap<>();
    members.put("", Value.of("a <text> & \"more\" \u20ac \uD83D\uDE00\t"));
    members.put("int", Value.of(Long.MIN_VALUE));
    members.put("double", Value.of(1.5e-300));
    members.put("truth", Value.of(true));
    members.put("time", Value.of(Instant.ofEpochSecond(1_234_567_890)));
    return List.of(
        Value.of("OpaqueRef:1"), new Value.Array(List.of(Value.of(7), new Value.Struct(members))));
  }

  static Surface xmlRpcCall() {
    XmlRpcCodec api = new XmlRpcCodec(Dialect.XENAPI);
    XmlRpcCodec storage = new XmlRpcCodec(Dialect.SMAPI);
    return new Surface() {
      @Override
      public List<byte[]> seeds() {
        return List.of(
            api.writeCall("VM.get_record", everyType()),
            storage.writeCall("VDI.attach", List.of(Value.VOID)),
            utf8(
                "<?xml version='1.0'?><methodCall><methodName>a.b</methodName><params><param>"
                    + "<value><i4>-5</i4></value></param><param><value>x</value></param><param>"
                    + "<value><boolean>0</boolean></value></param><param><value><double>nan"
                    + "</double></value></param><param><value><nil/></value></param><param><value>"
                    + "<dateTime.iso8601>20260131T22:00:00Z</dateTime.iso8601></value></param>"
                    + "<param><value><base64>AAEC</base64></value></param></params></methodCall>"),
            utf8(
                "<!DOCTYPE m [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;'>]><methodCall>"
                    + "<methodName>&b;</methodName></methodCall>"));
      }

      @Override
      public void take(byte[] input) throws WireException {
        roundTrip(api, input);
        roundTrip(storage, input);
      }

      private void roundTrip(XmlRpcCodec codec, byte[] input) throws WireException {
        XmlRpcCall call;
        try {
          call = codec.readCall(input);
        } catch (WireException refused) {
          return;
        }
        // Integers are written as text, and what is no number as 0, as published servers do.
        XmlRpcCall again = codec.readCall(codec.writeCall(call.method(), call.params()));
        XmlRpcCall third = codec.readCall(codec.writeCall(again.method(), again.params()));
        require(third.equals(again), "read again it is " + third + ", not " + again);
      }
    };
  }

  static Surface xmlRpcAnswer() {
    XmlRpcCodec api = new XmlRpcCodec(Dialect.XENAPI);
    XmlRpcCodec storage = new XmlRpcCodec(Dialect.SMAPI);
    return new Surface() {
      @Override
      public List<byte[]> seeds() throws IOException {
        ByteArrayOutputStream success = new ByteArrayOutputStream();
        api.writeSuccess(success, Content.of(new Value.Array(everyType())));
        ByteArrayOutputStream failure = new ByteArrayOutputStream();
        api.writeFailure(failure, new XenApiException("HANDLE_INVALID", "VM", "x"));
        ByteArrayOutputStream bare = new ByteArrayOutputStream();
        storage.writeBare(bare, Content.of(Value.VOID));
        return List.of(
            success.toByteArray(),
            failure.toByteArray(),
            bare.toByteArray(),
            utf8(
                "<methodResponse><fault><value><struct><member><name>faultCode</name><value><int>4"
                    + "</int></value></member><member><name>faultString</name><value><string>no"
                    + "</string></value></member></struct></value></fault></methodResponse>"));
      }

      @Override
      public void take(byte[] input) {
        try {
          api.readAnswer(new ByteArrayInputStream(input));
        } catch (WireException | XenApiException refused) {
          // One of the two.
        }
        try {
          storage.readBare(new ByteArrayInputStream(input));
        } catch (WireException | XenApiException refused) {
          // One of the two.
        }
      }
    };
  }

  static Surface jsonRpcCall() {
    JsonRpcCodec codec = new JsonRpcCodec();
    return new Surface() {
      @Override
      public List<byte[]> seeds() {
        return List.of(
            utf8(
                "{\"jsonrpc\":\"2.0\",\"method\":\"VM.get_record\",\"params\":[\"a\",1,2.5e3,true,"
                    + "{\"x\":[\"\\ud83d\\ude00\\n\"]},null],\"id\":\"7\"}"),
            utf8("{\"method\":\"a.b\",\"params\":[99999999999999999999,-1e400],\"id\":18}"),
            utf8("{\"jsonrpc\":\"2.0\",\"method\":\"a\",\"params\":{\"a\":\"\\ud800\"},\"id\":1}"));
      }

      @Override
      public void take(byte[] input) throws IOException {
        JsonRpcCall call;
        try {
          call = codec.readCall(input);
        } catch (WireException refused) {
          return;
        }
        ByteArrayOutputStream answer = new ByteArrayOutputStream();
        List<Value> params;
        try {
          params = call.params();
        } catch (XenApiException refused) {
          codec.writeFailure(answer, call, refused);
          require(STRICT.readTree(answer.toByteArray()).has("id"), "an answer without an id");
          return;
        }
        codec.writeSuccess(answer, call, Content.of(new Value.Array(params)));
        int size = STRICT.readTree(answer.toByteArray()).path("result").size();
        require(size == params.size(), size + " values written, not " + params.size());
      }
    };
  }

  static byte[] utf8(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  static void require(boolean holds, String otherwise) {
    if (!holds) {
      throw new AssertionError(otherwise);
    }
  }
}
