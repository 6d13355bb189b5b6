package io.xenferry.cli;

import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** What a command is for, in one sentence. */
final class Descriptions {
  private static final Map<String, String> WRITTEN = load();

  private static final List<Map.Entry<String, String>> GENERATED =
      List.of(
          Map.entry("-param-list", "Shows all fields of one %s."),
          Map.entry("-param-get", "Shows one field of one %s."),
          Map.entry("-param-set", "Sets fields of one %s."),
          Map.entry("-param-add", "Adds a member to a set or a key to a map of one %s."),
          Map.entry("-param-remove", "Removes a member of a set or a key of a map of one %s."),
          Map.entry("-param-clear", "Empties one field of one %s."),
          Map.entry("-list", "Lists objects of class %s; fields given as NAME=VALUE choose."));

  private Descriptions() {}

  private static Map<String, String> load() {
    Map<String, String> written = new HashMap<>();
    for (String line : RecordClass.Resources.lines("descriptions.txt")) {
      int colon = line.indexOf(": ");
      written.put(line.substring(0, colon), line.substring(colon + 2));
    }
    return written;
  }

  static String of(String command) {
    String written = WRITTEN.get(command);
    if (written != null) {
      return written;
    }
    for (Map.Entry<String, String> e : GENERATED) {
      if (command.endsWith(e.getKey())) {
        return e.getValue().formatted(command.substring(0, command.length() - e.getKey().length()));
      }
    }
    return "Makes the XenAPI call of this name with the given object.";
  }
}
