package io.xenferry.wire;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeType;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;

/** A call as it came in by JSON-RPC. */
public final class JsonRpcCall {
  /** How calls and answers are wrapped. */
  enum Version {
    ONE,
    TWO
  }

  private static final BigInteger LOWEST = BigInteger.valueOf(Long.MIN_VALUE);
  private static final BigInteger HIGHEST = BigInteger.valueOf(Long.MAX_VALUE);

  private final Version version;
  private final JsonNode id;
  private final String method;
  private final List<JsonNode> params;

  JsonRpcCall(Version version, JsonNode id, String method, List<JsonNode> params) {
    this.version = version;
    this.id = id;
    this.method = method;
    this.params = params;
  }

  Version version() {
    return version;
  }

  /** A string or an integer, for the answer. */
  JsonNode id() {
    return id;
  }

  public String method() {
    return method;
  }

  /**
   * @throws XenApiException INVALID_VALUE for what no XenAPI type can be: null, and text that is no
   *     Unicode
   */
  public List<Value> params() throws XenApiException {
    List<Value> values = new ArrayList<>(params.size());
    for (JsonNode param : params) {
      values.add(value(param));
    }
    return values;
  }

  private static Value value(JsonNode node) throws XenApiException {
    return switch (node.getNodeType()) {
      case STRING -> Value.of(unicode(node.textValue()));
      case BOOLEAN -> Value.of(node.booleanValue());
      case NUMBER -> number(node);
      case ARRAY -> {
        List<Value> items = new ArrayList<>(node.size());
        for (JsonNode item : node) {
          items.add(value(item));
        }
        yield new Value.Array(items);
      }
      case OBJECT -> {
        SequencedMap<String, Value> members = new LinkedHashMap<>();
        for (var member : node.properties()) {
          members.put(unicode(member.getKey()), value(member.getValue()));
        }
        yield new Value.Struct(members);
      }
      case NULL, MISSING, BINARY, POJO ->
          throw new XenApiException("INVALID_VALUE", "params", "null");
    };
  }

  /** A number of more than 64 bits stays text: the message can say which one does not fit. */
  private static Value number(JsonNode node) {
    if (!node.isIntegralNumber()) {
      return Value.of(node.doubleValue());
    }
    BigInteger integer = node.bigIntegerValue();
    return integer.compareTo(LOWEST) < 0 || integer.compareTo(HIGHEST) > 0
        ? Value.of(integer.toString())
        : Value.of(integer.longValue());
  }

  private static String unicode(String text) throws XenApiException {
    if (!text.equals(JsonRpcCodec.wellFormed(text))) {
      throw new XenApiException("INVALID_VALUE", "Invalid UTF-8 string in parameter", "");
    }
    return text;
  }

  static boolean isId(JsonNode node) {
    return node.getNodeType() == JsonNodeType.STRING || node.isIntegralNumber();
  }
}
