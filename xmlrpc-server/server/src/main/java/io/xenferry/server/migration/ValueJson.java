package io.xenferry.server.migration;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.xenferry.model.Type;
import io.xenferry.model.Value;
import java.time.DateTimeException;
import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Values of the data model in the servers' own documents: plain JSON, read back by type. */
final class ValueJson {
  private static final JsonNodeFactory JSON = JsonNodeFactory.instance;

  private ValueJson() {}

  static JsonNode write(Value value) {
    return switch (value) {
      case Value.Text text -> JSON.textNode(text.text());
      case Value.Int number -> JSON.numberNode(number.value());
      case Value.Real number -> JSON.numberNode(number.value());
      case Value.Bool bool -> JSON.booleanNode(bool.value());
      case Value.Time time -> JSON.textNode(time.instant().toString());
      case Value.Array array -> {
        ArrayNode node = JSON.arrayNode();
        array.items().forEach(item -> node.add(write(item)));
        yield node;
      }
      case Value.Struct struct -> {
        ObjectNode node = JSON.objectNode();
        struct.members().forEach((key, member) -> node.set(key, write(member)));
        yield node;
      }
    };
  }

  /**
   * @throws IllegalArgumentException when the document holds something else than the type says
   */
  static Value read(JsonNode node, Type type) {
    return switch (type) {
      case Type.Basic basic ->
          switch (basic) {
            case STRING, VOID -> Value.of(text(node));
            case INT -> {
              require(node.isIntegralNumber() && node.canConvertToLong(), node, type);
              yield Value.of(node.longValue());
            }
            case FLOAT -> {
              require(node.isNumber(), node, type);
              yield Value.of(node.doubleValue());
            }
            case BOOL -> {
              require(node.isBoolean(), node, type);
              yield Value.of(node.booleanValue());
            }
            case DATETIME -> {
              try {
                yield Value.of(Instant.parse(text(node)));
              } catch (DateTimeException e) {
                throw new IllegalArgumentException("not a time: " + node, e);
              }
            }
          };
      case Type.RefTo ref -> Value.of(text(node));
      case Type.EnumOf word -> Value.of(text(node));
      case Type.SetOf set -> {
        require(node.isArray(), node, type);
        List<Value> items = new ArrayList<>();
        node.forEach(item -> items.add(read(item, set.element())));
        yield new Value.Array(items);
      }
      case Type.MapOf map -> {
        require(node.isObject(), node, type);
        LinkedHashMap<String, Value> members = new LinkedHashMap<>();
        for (Map.Entry<String, JsonNode> member : node.properties()) {
          members.put(member.getKey(), read(member.getValue(), map.value()));
        }
        yield new Value.Struct(members);
      }
      case Type.RecordOf record -> throw new IllegalArgumentException("a record is no field");
      case Type.OptionOf option -> read(node, option.inner());
    };
  }

  private static String text(JsonNode node) {
    require(node.isTextual(), node, Type.Basic.STRING);
    return node.textValue();
  }

  private static void require(boolean fits, JsonNode node, Type type) {
    if (!fits) {
      throw new IllegalArgumentException("not a " + type + ": " + node);
    }
  }
}
