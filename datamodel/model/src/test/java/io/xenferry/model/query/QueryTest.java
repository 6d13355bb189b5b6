package io.xenferry.model.query;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.model.VM;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.MemoryDatabase;
import io.xenferry.model.db.ObjectDatabase;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class QueryTest {
  private final ObjectDatabase db = MemoryDatabase.create();

  private String vm(String name, boolean template) throws XenApiException {
    return db.write(tx ->
        tx.create(
            "VM",
            Map.of(
                "name_label",
                Value.of(name),
                "is_a_template",
                Value.of(template),
                "tags",
                Value.ofTexts(List.of("a", "b")),
                "other_config",
                Value.ofTexts(Map.of("k", "it's")))));
  }

  private List<String> run(String expression) throws XenApiException {
    return Query.parse(VM.CLASS, expression).run(db.snapshot()).stream()
        .map(r -> r.get(VM.NAME_LABEL))
        .toList();
  }

  @Test
  void comparesDatabaseText() throws XenApiException {
    String a = vm("a", false);
    vm("b", true);
    String uuid = db.snapshot().require("VM", a).get(VM.UUID);
    assertThat(run("true")).containsExactly("a", "b");
    assertThat(run("not true")).isEmpty();
    assertThat(run("field \"name__label\" = \"a\"")).containsExactly("a");
    assertThat(run("field \"name_label\"=\"b\"")).containsExactly("b");
    assertThat(run("(field \"is_a_template\"=\"true\") and (field \"power_state\"=\"Halted\")"))
        .containsExactly("b");
    assertThat(run("not (field \"is_a_template\"=\"true\")")).containsExactly("a");
    assertThat(run("field \"_ref\"=\"" + a + "\"")).containsExactly("a");
    assertThat(run("field \"uuid\"=\"" + uuid + "\" and field \"is_a_template\"=\"true\""))
        .isEmpty();
    assertThat(run("\"" + uuid + "\" = field \"uuid\"")).containsExactly("a");
    assertThat(run("field \"uuid\"=\"" + uuid + "\" or true")).hasSize(2);
    assertThat(run("field \"affinity\"=\"OpaqueRef:NULL\"")).hasSize(2);
    assertThat(run("field \"tags\"=\"('a' 'b')\"")).hasSize(2);
    assertThat(run("field \"other_config\"=\"(('k' 'it\\'s'))\"")).hasSize(2);
    assertThat(run("field \"VBDs\"=\"()\"")).hasSize(2);
    assertThat(run("field \"snapshot_time\"=\"19700101T00:00:00Z\"")).hasSize(2);
    assertThat(run("field \"HVM__shadow_multiplier\"=\"1\"")).hasSize(2);
  }

  @Test
  void andAndOrHaveOnePrecedenceAndGroupToTheLeft() throws XenApiException {
    vm("a", false);
    assertThat(run("true or false and false")).isEmpty();
    assertThat(run("false and false or true")).hasSize(1);
    assertThat(run("not false and false")).isEmpty();
    assertThat(run("true" + " and true".repeat(5000))).hasSize(1);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "(",
        "true)",
        "field",
        "field \"x\"",
        "field \"nosuch\"=\"1\"",
        "\"a\"=",
        "\"a",
        "true true",
        "a=b",
        "trueish",
        "field \"name__label\" = 1"
      })
  void whatIsNoExpressionIsRefused(String expression) {
    assertThatThrownBy(() -> Query.parse(VM.CLASS, expression))
        .isInstanceOfSatisfying(
            XenApiException.class,
            e -> {
              assertThat(e.code()).isEqualTo("INVALID_VALUE");
              assertThat(e.params().getFirst()).isEqualTo(expression);
            });
  }

  @Test
  void depthAndLengthAreLimited() {
    assertThatThrownBy(() -> Query.parse(VM.CLASS, "(".repeat(5000) + "true" + ")".repeat(5000)))
        .hasMessageContaining("INVALID_VALUE");
    assertThatThrownBy(() -> Query.parse(VM.CLASS, "not ".repeat(5000) + "true"))
        .hasMessageContaining("INVALID_VALUE");
    assertThatThrownBy(() -> Query.parse(VM.CLASS, " ".repeat(100_000)))
        .hasMessageContaining("INVALID_VALUE");
  }

  @Test
  void junkNeverCrashes() {
    long seed = System.nanoTime();
    Random random = new Random(seed);
    String[] tokens = {"true", "not", "and", "or", "(", ")", "field", "\"uuid\"", "\"", "=", " "};
    for (int i = 0; i < 20_000; i++) {
      StringBuilder text = new StringBuilder();
      for (int j = random.nextInt(12); j > 0; j--) {
        text.append(tokens[random.nextInt(tokens.length)]).append(' ');
      }
      try {
        Query.parse(VM.CLASS, text.toString()).run(db.snapshot());
      } catch (XenApiException e) {
        assertThat(e.code()).as("seed %d", seed).isEqualTo("INVALID_VALUE");
      }
    }
  }
}
