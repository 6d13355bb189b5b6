package io.xenferry.wire;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class JsonRpcCodecTest {
  private static final String TWO = "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"m\",\"params\":";

  private final JsonRpcCodec codec = new JsonRpcCodec();

  private JsonRpcCall read(String body) throws WireException {
    return codec.readCall(body.getBytes(StandardCharsets.UTF_8));
  }

  private List<Value> params(String params) throws Exception {
    return read(TWO + params + "}").params();
  }

  private String success(JsonRpcCall call, Content result) throws IOException {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    codec.writeSuccess(out, call, result);
    return out.toString(StandardCharsets.UTF_8);
  }

  private String success(Value result) throws Exception {
    String answer = success(read(TWO + "[]}"), Content.of(result));
    String before = "{\"jsonrpc\":\"2.0\",\"result\":";
    String after = ",\"id\":7}";
    assertThat(answer).startsWith(before).endsWith(after);
    return answer.substring(before.length(), answer.length() - after.length());
  }

  @Test
  void readsEveryType() throws Exception {
    SequencedMap<String, Value> members = new LinkedHashMap<>();
    members.put("b", Value.of(2L));
    members.put("a", Value.of("é"));
    assertThat(params("[\"t\", 1, -2.5, true, [\"x\", [3]], {\"b\": 2, \"a\": \"\\u00e9\"}]"))
        .containsExactly(
            Value.of("t"),
            Value.of(1L),
            Value.of(-2.5),
            Value.of(true),
            new Value.Array(List.of(Value.of("x"), new Value.Array(List.of(Value.of(3L))))),
            new Value.Struct(members));
  }

  @Test
  void integersHave64BitsAndLargerOnesStayText() throws Exception {
    assertThat(params("[9223372036854775807, -9223372036854775808, 9223372036854775808]"))
        .containsExactly(
            Value.of(Long.MAX_VALUE), Value.of(Long.MIN_VALUE), Value.of("9223372036854775808"));
  }

  @Test
  void parametersOfTheSecondVersionMayBeAnObjectOrNone() throws Exception {
    assertThat(params("{\"a\": 1}"))
        .containsExactly(new Value.Struct(new LinkedHashMap<>(Map.of("a", Value.of(1L)))));
    assertThat(params("null")).isEmpty();
    assertThat(read("{\"jsonrpc\":\"2.0\",\"id\":\"i\",\"method\":\"m\"}").params()).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "junk",
        "[]",
        "null",
        "{}",
        "{\"id\":1,\"method\":\"m\"}",
        "{\"id\":1,\"method\":\"m\",\"params\":{}}",
        "{\"id\":1,\"method\":\"m\",\"params\":null}",
        "{\"id\":null,\"method\":\"m\",\"params\":[]}",
        "{\"id\":1.5,\"method\":\"m\",\"params\":[]}",
        "{\"id\":[],\"method\":\"m\",\"params\":[]}",
        "{\"method\":\"m\",\"params\":[]}",
        "{\"id\":1,\"method\":\"\",\"params\":[]}",
        "{\"id\":1,\"method\":5,\"params\":[]}",
        "{\"id\":1,\"params\":[]}",
        "{\"id\":1,\"method\":\"m\",\"params\":[]} {}",
        "{\"id\":1,\"method\":\"m\",\"params\":[],\"method\":\"n\"}",
        "{\"id\":1,\"method\":\"m\",\"params\":[{\"a\":1,\"a\":2}]}",
        "{\"id\":1,\"method\":\"m\",\"params\":[NaN]}",
        "{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"m\",\"params\":[]}",
        "{\"jsonrpc\":2.0,\"id\":1,\"method\":\"m\",\"params\":[]}",
        "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\",\"params\":[]}]"
      })
  void whatIsNoCallIsRefused(String body) {
    assertThatThrownBy(() -> read(body)).isInstanceOf(WireException.class);
  }

  @Test
  void depthAndDigitsAreLimited() {
    assertThatThrownBy(() -> params("[".repeat(100) + "]".repeat(100)))
        .isInstanceOf(WireException.class);
    assertThatThrownBy(() -> params("[" + "9".repeat(1000) + "]"))
        .isInstanceOf(WireException.class);
  }

  @ParameterizedTest
  @ValueSource(strings = {"[null]", "[[null]]", "[{\"a\":null}]", "[\"\\ud800\"]"})
  void whatNoTypeCanBeIsTheCallsToRefuse(String params) throws Exception {
    JsonRpcCall call = read(TWO + params + "}");
    assertThatThrownBy(call::params)
        .isInstanceOfSatisfying(
            XenApiException.class, e -> assertThat(e.code()).isEqualTo("INVALID_VALUE"));
  }

  @Test
  void writesEveryType() throws Exception {
    assertThat(success(Value.of("a\"<é\u0001"))).isEqualTo("\"a\\\"<é\\u0001\"");
    assertThat(success(Value.of("\ud83d\ude80 \ud83d"))).isEqualTo("\"\ud83d\ude80 \ufffd\"");
    assertThat(success(Value.of(Long.MAX_VALUE))).isEqualTo("9223372036854775807");
    assertThat(success(Value.of(0.25))).isEqualTo("0.25");
    assertThat(success(Value.of(1e30))).isEqualTo("1e+30");
    assertThat(success(Value.of(Double.NaN))).isEqualTo("null");
    assertThat(success(Value.of(Double.NEGATIVE_INFINITY))).isEqualTo("null");
    assertThat(success(Value.of(true))).isEqualTo("true");
    assertThat(success(Value.of(Instant.parse("2026-01-02T03:04:05Z"))))
        .isEqualTo("\"20260102T03:04:05Z\"");
    assertThat(success(Value.VOID)).isEqualTo("\"\"");
    assertThat(success(Value.ofTexts(Map.of("k", "v")))).isEqualTo("{\"k\":\"v\"}");
    assertThat(success(Value.ofTexts(List.of("a", "b")))).isEqualTo("[\"a\",\"b\"]");
  }

  @Test
  void writesWhatIsProducedPieceByPiece() throws Exception {
    Content content =
        new Content.Members(
            List.of(
                Map.entry("n", new Content.Int32(3)),
                Map.entry("l", new Content.Items(List.of(Content.of(Value.of("x")))))));
    assertThat(success(read(TWO + "[]}"), content))
        .isEqualTo("{\"jsonrpc\":\"2.0\",\"result\":{\"n\":3,\"l\":[\"x\"]},\"id\":7}");
  }

  @Test
  void anAnswerHasTheVersionAndTheIdOfItsCall() throws Exception {
    JsonRpcCall one = read("{\"id\":\"a\",\"method\":\"m\",\"params\":[]}");
    assertThat(success(one, Content.VOID))
        .isEqualTo("{\"result\":\"\",\"error\":null,\"id\":\"a\"}");
    XenApiException failure = new XenApiException("HANDLE_INVALID", "VM", "OpaqueRef:x");
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    codec.writeFailure(out, one, failure);
    assertThat(out.toString(StandardCharsets.UTF_8))
        .isEqualTo(
            "{\"result\":null,\"error\":[\"HANDLE_INVALID\",\"VM\",\"OpaqueRef:x\"],\"id\":\"a\"}");
    out.reset();
    codec.writeFailure(out, read(TWO + "[]}"), failure);
    assertThat(out.toString(StandardCharsets.UTF_8))
        .isEqualTo(
            "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":1,\"message\":\"HANDLE_INVALID\","
                + "\"data\":[\"VM\",\"OpaqueRef:x\"]},\"id\":7}");
  }
}
