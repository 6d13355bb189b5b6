package io.xenferry.wire;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class XmlRpcCodecTest {
  private static final String HEAD = "<?xml version=\"1.0\"?><methodResponse><params><param>";
  private static final String TAIL = "</param></params></methodResponse>";

  private final XmlRpcCodec codec = new XmlRpcCodec(Dialect.XENAPI);

  @Test
  void valuesAreWrittenByteForByteAsPublishedServersDo() {
    assertThat(element(Value.of("a<b>&\"c"))).isEqualTo("<value>a&lt;b&gt;&amp;&quot;c</value>");
    assertThat(element(Value.VOID)).isEqualTo("<value></value>");
    assertThat(element(Value.of(9_223_372_036_854_775_807L)))
        .isEqualTo("<value>9223372036854775807</value>");
    assertThat(element(Value.of(true))).isEqualTo("<value><boolean>1</boolean></value>");
    assertThat(element(Value.of(Instant.parse("2026-01-02T03:04:05.999Z"))))
        .isEqualTo("<value><dateTime.iso8601>20260102T03:04:05Z</dateTime.iso8601></value>");
    assertThat(element(Value.ofTexts(List.of("x", ""))))
        .isEqualTo("<value><array><data><value>x</value><value></value></data></array></value>");
    assertThat(element(Value.ofTexts(Map.of("k<&", "v"))))
        .isEqualTo(
            "<value><struct><member><name>k&lt;&amp;</name><value>v</value></member></struct></value>");
    assertThat(codec.valueElement(new Content.Int32(7))).isEqualTo("<value><i4>7</i4></value>");
  }

  @Test
  void charactersThatXmlCannotCarryAreDropped() {
    assertThat(element(Value.of("a\u0000\u0001\uFFFEb\t\n\rc\uD83D\uDE00é€\uD83D")))
        .isEqualTo("<value>ab\t\n&#13;c\uD83D\uDE00é€</value>");
  }

  @ParameterizedTest
  @CsvSource({
    "1,1",
    "0.25,0.25",
    "-0.0,0",
    "NaN,0",
    "Infinity,0",
    "1e20,1e+20",
    "0.1,0.1",
    "1e-5,1e-05",
    "123456789.125,123456789.125",
    "-2.5e-300,-2.5e-300",
    "1e15,1000000000000000",
    "1e16,1e+16"
  })
  void doublesAreWrittenAsPercent16g(double d, String text) {
    assertThat(element(Value.of(d))).isEqualTo("<value><double>" + text + "</double></value>");
  }

  @Test
  void answersHaveNoWhiteSpace() throws IOException {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    codec.writeSuccess(out, Content.VOID);
    assertThat(out.toString(StandardCharsets.UTF_8))
        .isEqualTo(
            HEAD
                + "<value><struct><member><name>Status</name><value>Success</value></member>"
                + "<member><name>Value</name><value></value></member></struct></value>"
                + TAIL);
    out.reset();
    codec.writeFailure(out, new XenApiException("HANDLE_INVALID", "VM", "OpaqueRef:x"));
    assertThat(out.toString(StandardCharsets.UTF_8))
        .isEqualTo(
            HEAD
                + "<value><struct><member><name>Status</name><value>Failure</value></member><member>"
                + "<name>ErrorDescription</name><value><array><data><value>HANDLE_INVALID</value>"
                + "<value>VM</value><value>OpaqueRef:x</value></data></array></value></member>"
                + "</struct></value>"
                + TAIL);
  }

  @Test
  void callsAreReadInAllFormsThatClientsSend() throws WireException {
    XmlRpcCall call =
        read(
            "<?xml version=\"1.0\"?>\n<methodCall>\n <methodName>VM.x</methodName>\n<params>\n<param>"
                + "<value>plain</value></param><param><value><string>tagged</string></value></param>"
                + "<param><value><int>-1</int></value></param><param><value><i8>9223372036854775807"
                + "</i8></value></param><param><value><boolean>0</boolean></value></param><param>"
                + "<value><double>1.5</double></value></param><param><value><dateTime.iso8601>"
                + "20260102T03:04:05Z</dateTime.iso8601></value></param><param><value><struct><member>"
                + "<name>a</name><value></value></member></struct></value></param><param><value/>"
                + "</param></params></methodCall>");
    assertThat(call.method()).isEqualTo("VM.x");
    assertThat(call.params())
        .containsExactly(
            Value.of("plain"),
            Value.of("tagged"),
            Value.of(-1L),
            Value.of(Long.MAX_VALUE),
            Value.of(false),
            Value.of(1.5),
            Value.of(Instant.parse("2026-01-02T03:04:05Z")),
            Value.ofTexts(Map.of("a", "")),
            Value.of(""));
  }

  /** What no type of the XenAPI holds is for the message to refuse, by its parameter's name. */
  @ParameterizedTest
  @CsvSource({
    "i4,99999999999999999999",
    "int,-9223372036854775809",
    "dateTime.iso8601,20260230T00:00:00Z",
    "dateTime.iso8601,20261301T25:61:61"
  })
  void valuesOutOfRangeAreReadAsText(String tag, String text) throws WireException {
    assertThat(value(tag, text)).isEqualTo(Value.of(text));
  }

  @ParameterizedTest
  @CsvSource({
    "nan,NaN",
    "NaN,NaN",
    "-nan,NaN",
    "inf,Infinity",
    "+Infinity,Infinity",
    "-INF,-Infinity",
    "1e999,Infinity",
    ".5,0.5",
    "5.,5",
    "+1E2,100",
    "-0,-0.0"
  })
  void doublesAreReadInEverySpelling(String text, double expected) throws WireException {
    assertThat(value("double", text)).isEqualTo(Value.of(expected));
  }

  private Value value(String tag, String text) throws WireException {
    return read("<methodCall><methodName>x</methodName><params><param><value><%s>%s</%s></value></param></params></methodCall>"
            .formatted(tag, text, tag))
        .params()
        .getFirst();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "junk",
        "<methodCall>",
        "<methodCall></methodCall>",
        "<methodCall><methodName></methodName></methodCall>",
        "<methodCall><methodName>x</methodName><params><param><value><nil/></value></param></params></methodCall>",
        "<methodCall><methodName>x</methodName><params><param><value><ex:nil"
            + " xmlns:ex=\"http://ws.apache.org/xmlrpc/namespaces/extensions\"/></value></param></params></methodCall>",
        "<methodCall><methodName>x</methodName><params><param><value><i4>1x</i4></value></param></params></methodCall>",
        "<methodCall><methodName>x</methodName><params><param><value><double>1.5f</double></value></param></params></methodCall>",
        "<methodCall><methodName>x</methodName><params><param><value><double>0x1p3</double></value></param></params></methodCall>",
        "<methodCall><methodName>x</methodName><params><param><value><double></double></value></param></params></methodCall>",
        "<methodCall><methodName>x</methodName><params><param><value><dateTime.iso8601>now</dateTime.iso8601></value></param></params></methodCall>",
        "<methodCall><methodName>x</methodName><params><param><value><boolean>true</boolean></value></param></params></methodCall>",
        "<methodCall><methodName>x</methodName><params><param><value><base64>AAAA</base64></value></param></params></methodCall>",
        "<methodCall><methodName>x</methodName><params><param><value><struct><member><name>a</name><value>1</value></member>"
            + "<member><name>a</name><value>2</value></member></struct></value></param></params></methodCall>",
        "<!DOCTYPE m [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><methodCall><methodName>&e;</methodName></methodCall>",
        "<!DOCTYPE m [<!ENTITY a \"aaaa\">]><methodCall><methodName>&a;</methodName></methodCall>",
        "<methodResponse><params><param><value>1</value></param></params></methodResponse>"
      })
  void whatIsNoCallIsRefused(String body) {
    assertThatThrownBy(() -> read(body)).isInstanceOf(WireException.class);
    assertThat(codec.valueElement(Content.VOID)).isEqualTo("<value></value>"); // and it lives on
  }

  @Test
  void deepNestingIsRefusedAndTheCodecLivesOn() throws WireException {
    String open = "<value><array><data>".repeat(200);
    assertThatThrownBy(() -> read("<methodCall><methodName>x</methodName><params><param>" + open))
        .isInstanceOf(WireException.class);
    assertThat(read("<methodCall><methodName>ok</methodName></methodCall>").params()).isEmpty();
  }

  @Test
  void randomDamageNeverDoesMoreThanRefuse() {
    byte[] good =
        codec.writeCall(
            "VM.set_other_config",
            List.of(Value.of("OpaqueRef:1"), Value.ofTexts(Map.of("a", "b", "c", "d"))));
    long seed = 20260102;
    Random random = new Random(seed);
    for (int i = 0; i < 2000; i++) {
      byte[] bad = good.clone();
      for (int n = random.nextInt(4); n >= 0; n--) {
        bad[random.nextInt(bad.length)] = (byte) random.nextInt(256);
      }
      try {
        codec.readCall(bad);
      } catch (WireException expected) {
        assertThat(expected).hasMessageContaining("");
      }
    }
  }

  @Test
  void valuesSurviveTheWayThere() throws WireException {
    Value v =
        Value.Struct.of(
            Map.of(
                "a", new Value.Array(List.of(Value.of("é\r\n<"), Value.of(2.5), Value.of(true)))));
    assertThat(codec.readValueElement(element(v))).isEqualTo(v);
    assertThat(codec.readCall(codec.writeCall("m", List.of(v))))
        .isEqualTo(new XmlRpcCall("m", List.of(v)));
  }

  @Test
  void storageCallsHaveNil() throws Exception {
    XmlRpcCodec smapi = new XmlRpcCodec(Dialect.SMAPI);
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    smapi.writeBare(out, Content.VOID);
    assertThat(out.toString(StandardCharsets.UTF_8))
        .isEqualTo(HEAD + "<value><nil></nil></value>" + TAIL);
    assertThat(smapi.readBare(new ByteArrayInputStream(out.toByteArray()))).isSameAs(Value.VOID);
  }

  @Test
  void datesAreReadWithAndWithoutDashesAndZones() throws WireException {
    Instant t = Instant.parse("2026-01-02T03:04:05Z");
    assertThat(Dates.parse("20260102T03:04:05Z")).isEqualTo(t);
    assertThat(Dates.parse("2026-01-02T03:04:05Z")).isEqualTo(t);
    assertThat(Dates.parse("20260102T03:04:05")).isEqualTo(t);
    assertThat(Dates.parse("20260102T05:04:05+02:00")).isEqualTo(t);
    assertThat(Dates.parse("2026-01-02T03:04:05.25Z")).isEqualTo(t.plusMillis(250));
    assertThatThrownBy(() -> Dates.parse("20261302T03:04:05Z")).isInstanceOf(WireException.class);
    assertThat(Dates.format(Instant.EPOCH)).isEqualTo("19700101T00:00:00Z");
  }

  private String element(Value v) {
    return codec.valueElement(Content.of(v));
  }

  private XmlRpcCall read(String body) throws WireException {
    return codec.readCall(body.getBytes(StandardCharsets.UTF_8));
  }
}
