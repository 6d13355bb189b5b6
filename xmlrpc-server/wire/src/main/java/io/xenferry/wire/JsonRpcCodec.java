package io.xenferry.wire;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.json.JsonWriteFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.wire.JsonRpcCall.Version;
import java.io.IOException;
import java.io.OutputStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * JSON-RPC 1.0 and 2.0 with XenAPI's type rules, on Jackson. Which one it is the call says; the
 * answer is of the same.
 *
 * <p>What comes in is hostile: at most {@value #MAX_DEPTH} levels deep, numbers of at most {@value
 * #MAX_DIGITS} characters, every member of an object once, nothing after the call. The size limit
 * is the caller's. Thread-safe.
 *
 * <p>Rules: integers and floats are numbers, and NaN and the infinities are null; dates are text as
 * in XML-RPC; void is the empty string; {@code id} is a string or an integer; several calls in one
 * body are none.
 */
public final class JsonRpcCodec {
  public static final int MAX_DEPTH = 64;
  public static final int MAX_DIGITS = 400;

  /** The one code that published servers have for every failure. */
  private static final int FAILED = 1;

  private static final JsonFactory FACTORY =
      JsonFactory.builder()
          .streamReadConstraints(
              StreamReadConstraints.builder()
                  .maxNestingDepth(MAX_DEPTH)
                  .maxNumberLength(MAX_DIGITS)
                  .build())
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          .enable(JsonWriteFeature.COMBINE_UNICODE_SURROGATES_IN_UTF8)
          .build();

  private static final ObjectMapper JSON =
      JsonMapper.builder(FACTORY).enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS).build();

  /**
   * Reads a call.
   *
   * @throws WireException when it is none
   */
  public JsonRpcCall readCall(byte[] body) throws WireException {
    JsonNode call;
    try {
      call = JSON.readTree(body);
    } catch (IOException e) {
      throw new WireException("malformed JSON", e);
    }
    if (call == null || !call.isObject()) {
      throw new WireException("not a JSON-RPC call");
    }
    Version version = version(call.get("jsonrpc"));
    JsonNode id = call.path("id");
    if (!JsonRpcCall.isId(id)) {
      throw new WireException("Invalid field 'id'");
    }
    String method = call.path("method").asText("");
    if (!call.path("method").isTextual() || method.isEmpty()) {
      throw new WireException("no method name");
    }
    return new JsonRpcCall(version, id, method, params(version, call.path("params")));
  }

  private static Version version(@Nullable JsonNode member) throws WireException {
    if (member == null) {
      return Version.ONE;
    }
    if (member.isTextual() && member.textValue().equals("2.0")) {
      return Version.TWO;
    }
    throw new WireException("unknown version of JSON-RPC");
  }

  /** In 2.0 an object is one struct, and no parameters may be none at all. */
  private static List<JsonNode> params(Version version, JsonNode params) throws WireException {
    if (params.isArray()) {
      List<JsonNode> all = new ArrayList<>(params.size());
      params.forEach(all::add);
      return all;
    }
    if (version == Version.TWO) {
      if (params.isObject()) {
        return List.of(params);
      }
      if (params.isNull() || params.isMissingNode()) {
        return List.of();
      }
    }
    throw new WireException("no array of parameters");
  }

  public void writeSuccess(OutputStream out, JsonRpcCall call, Content result) throws IOException {
    try (JsonGenerator json = begin(out, call)) {
      json.writeFieldName("result");
      write(json, result);
      if (call.version() == Version.ONE) {
        json.writeNullField("error");
      }
      end(json, call);
    }
  }

  public void writeFailure(OutputStream out, JsonRpcCall call, XenApiException failure)
      throws IOException {
    try (JsonGenerator json = begin(out, call)) {
      if (call.version() == Version.ONE) {
        json.writeNullField("result");
        json.writeArrayFieldStart("error");
        json.writeString(failure.code());
      } else {
        json.writeObjectFieldStart("error");
        json.writeNumberField("code", FAILED);
        json.writeStringField("message", failure.code());
        json.writeArrayFieldStart("data");
      }
      for (String param : failure.params()) {
        json.writeString(wellFormed(param));
      }
      json.writeEndArray();
      if (call.version() == Version.TWO) {
        json.writeEndObject();
      }
      end(json, call);
    }
  }

  private static JsonGenerator begin(OutputStream out, JsonRpcCall call) throws IOException {
    JsonGenerator json = JSON.createGenerator(out);
    // The stream is the caller's; and what breaks off must not look like a whole answer.
    json.disable(JsonGenerator.Feature.AUTO_CLOSE_TARGET);
    json.disable(JsonGenerator.Feature.AUTO_CLOSE_JSON_CONTENT);
    json.writeStartObject();
    if (call.version() == Version.TWO) {
      json.writeStringField("jsonrpc", "2.0");
    }
    return json;
  }

  private static void end(JsonGenerator json, JsonRpcCall call) throws IOException {
    if (call.id().isTextual()) {
      json.writeStringField("id", wellFormed(call.id().textValue()));
    } else {
      json.writeFieldName("id");
      json.writeNumber(call.id().bigIntegerValue());
    }
    json.writeEndObject();
  }

  private static void write(JsonGenerator json, Content content) throws IOException {
    switch (content) {
      case Content.Plain plain -> write(json, plain.value());
      case Content.Int32 integer -> json.writeNumber(integer.value());
      case Content.Items array -> {
        json.writeStartArray();
        for (Content item : array.items()) {
          write(json, item);
        }
        json.writeEndArray();
      }
      case Content.Members object -> {
        json.writeStartObject();
        for (Map.Entry<String, Content> member : object.members()) {
          json.writeFieldName(wellFormed(member.getKey()));
          write(json, member.getValue());
        }
        json.writeEndObject();
      }
    }
  }

  private static void write(JsonGenerator json, Value value) throws IOException {
    switch (value) {
      case Value.Text text -> json.writeString(wellFormed(text.text()));
      case Value.Int integer -> json.writeNumber(integer.value());
      case Value.Real real -> {
        if (Double.isFinite(real.value())) {
          json.writeNumber(Doubles.format(real.value()));
        } else {
          json.writeNull();
        }
      }
      case Value.Bool bool -> json.writeBoolean(bool.value());
      case Value.Time time -> json.writeString(Dates.format(time.instant()));
      case Value.Array array -> {
        json.writeStartArray();
        for (Value item : array.items()) {
          write(json, item);
        }
        json.writeEndArray();
      }
      case Value.Struct struct -> {
        json.writeStartObject();
        for (Map.Entry<String, Value> member : struct.members().entrySet()) {
          json.writeFieldName(wellFormed(member.getKey()));
          write(json, member.getValue());
        }
        json.writeEndObject();
      }
    }
  }

  /** Halves of surrogate pairs, which UTF-8 cannot carry, become U+FFFD. */
  static String wellFormed(String text) {
    for (int i = 0; i < text.length(); i++) {
      if (Character.isSurrogate(text.charAt(i))) {
        return replaceHalves(text);
      }
    }
    return text;
  }

  private static String replaceHalves(String text) {
    StringBuilder all = new StringBuilder(text.length());
    text.codePoints()
        .map(c -> c >= Character.MIN_SURROGATE && c <= Character.MAX_SURROGATE ? 0xFFFD : c)
        .forEach(all::appendCodePoint);
    return all.toString();
  }
}
