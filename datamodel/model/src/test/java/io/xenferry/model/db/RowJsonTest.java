package io.xenferry.model.db;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.xenferry.model.Value;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import org.junit.jupiter.api.Test;

class RowJsonTest {
  @Test
  void valuesOfEveryTypeComeBack() {
    SequencedMap<String, Value> m = new LinkedHashMap<>();
    m.put("text", Value.of("quote \" slash \\ tab \t nul \0 \ud83d\ude00 lone \ud83d ."));
    m.put("int", Value.of(Long.MIN_VALUE));
    m.put("whole", Value.of(1e300));
    m.put("float", Value.of(-0.0));
    m.put("nan", Value.of(Double.NaN));
    m.put("inf", Value.of(Double.NEGATIVE_INFINITY));
    m.put("yes", Value.of(true));
    m.put("time", Value.of(Instant.parse("2026-01-02T03:04:05.678Z")));
    m.put("set", new Value.Array(List.of(Value.of("a"), Value.of(1L), Value.EMPTY_ARRAY)));
    m.put("map", Value.Struct.of(Map.of("$map", Value.of("x"), "", Value.EMPTY_STRUCT)));
    assertThat(RowJson.read(RowJson.write(m))).isEqualTo(m);
  }

  @Test
  void junkIsRefused() {
    String good = RowJson.write(Map.of("a", Value.of("b"), "c", Value.ofTexts(List.of("d"))));
    for (int i = 0; i < good.length(); i++) {
      String cut = good.substring(0, i);
      assertThatIllegalArgumentException().isThrownBy(() -> RowJson.read(cut));
    }
    assertThatIllegalArgumentException()
        .isThrownBy(() -> RowJson.read("{\"a\":" + "[".repeat(100_000)));
  }
}
