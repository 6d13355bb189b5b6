package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.util.ArrayList;
import java.util.List;

/** Text from the command line as a value that a setter takes. */
final class Parameter {
  private Parameter() {}

  /** The value of a whole field. */
  static Value read(Calls calls, RecordField field, String text)
      throws XenApiException, CliException {
    String type = field.type();
    int colon = type.indexOf(':');
    String kind = colon < 0 ? type : type.substring(0, colon);
    String of = colon < 0 ? "" : type.substring(colon + 1);
    return switch (kind) {
      case "int" -> Value.of(integer(field, text));
      case "float" -> Value.of(real(field, text));
      case "bool" -> Value.of(Arguments.truth(field.name(), text));
      case "enum" -> Value.of(word(field, of, text));
      case "ref" -> Value.of(reference(calls, of, text));
      case "refs" -> {
        List<Value> refs = new ArrayList<>();
        for (String uuid : text.isEmpty() ? new String[0] : text.split(",")) {
          refs.add(Value.of(calls.byUuid(of, uuid.strip())));
        }
        yield new Value.Array(refs);
      }
      case "set" -> Value.ofTexts(text.isEmpty() ? List.of() : List.of(text.split(",")));
      default -> Value.of(text);
    };
  }

  /** The value of one member of a set. */
  static Value member(Calls calls, RecordField field, String text)
      throws XenApiException, CliException {
    String type = field.type();
    return type.startsWith("refs:")
        ? Value.of(calls.byUuid(type.substring(5), text))
        : type.equals("int") ? Value.of(integer(field, text)) : Value.of(text);
  }

  private static String reference(Calls calls, String className, String uuid)
      throws XenApiException {
    return uuid.isEmpty() || uuid.equals(Calls.NULL) ? Calls.NULL : calls.byUuid(className, uuid);
  }

  private static String word(RecordField field, String enumName, String text) throws CliException {
    return RecordClass.words(enumName)
        .read(text)
        .orElseThrow(() ->
            CliException.failed(
                "Field '%s' takes one of %s"
                    .formatted(
                        field.name(),
                        String.join(", ", RecordClass.words(enumName).shown().values()))));
  }

  private static long integer(RecordField field, String text) throws CliException {
    return field.name().startsWith("memory-")
        ? Arguments.size(field.name(), text)
        : number(field.name(), text);
  }

  static long number(String name, String text) throws CliException {
    try {
      return Long.parseLong(text.strip());
    } catch (NumberFormatException e) {
      throw CliException.failed("Parameter '%s' takes a number, not '%s'".formatted(name, text));
    }
  }

  private static double real(RecordField field, String text) throws CliException {
    try {
      return Double.parseDouble(text);
    } catch (NumberFormatException e) {
      throw CliException.failed(
          "Field '%s' takes a number, not '%s'".formatted(field.name(), text));
    }
  }
}
