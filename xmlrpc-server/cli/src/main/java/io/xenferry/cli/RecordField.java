package io.xenferry.cli;

import java.util.Map;

/**
 * A field of a record as xe shows and sets it, from a line of {@code records.txt}.
 *
 * @param name as users write it
 * @param mode ro or rw, sro or srw of a set, mro or mrw of a map
 * @param options the rest of the line
 */
record RecordField(String apiClass, String name, String mode, Map<String, String> options) {

  String path() {
    return option("path", name.replace('-', '_'));
  }

  String show() {
    return option("show", "");
  }

  String type() {
    return option("type", "string");
  }

  private String option(String key, String otherwise) {
    return options.getOrDefault(key, otherwise);
  }

  boolean hidden() {
    return option("is", "").contains("H");
  }

  boolean expensive() {
    return option("is", "").contains("E");
  }

  boolean caseInsensitive() {
    return option("is", "").contains("I");
  }

  boolean can(char what) {
    return option("can", "").indexOf(what) >= 0;
  }

  boolean isSet() {
    return mode.startsWith("s");
  }

  boolean isMap() {
    return mode.startsWith("m");
  }

  /** Name and marker, as tables have it. */
  String label() {
    String marker = mode.length() == 2 ? "( " + upper() + ")" : "(" + upper() + ")";
    return name + " " + marker + (option("is", "").contains("D") ? " [DEPRECATED]" : "");
  }

  private String upper() {
    return mode.toUpperCase(java.util.Locale.ROOT);
  }

  String setCall() {
    return option("set", apiClass + ".set_" + path());
  }

  String addCall() {
    return option("add", apiClass + ".add_to_" + path());
  }

  String removeCall() {
    return option("remove", apiClass + ".remove_from_" + path());
  }

  /** The call that sets one key of a map, if there is one. */
  String putCall() {
    return option("put", "");
  }

  /** The call that sets all of a map at once, if there is one. */
  String setMapCall() {
    return option("setmap", "");
  }

  /** The call that takes an empty map, if there is one. */
  String clearMapCall() {
    return option("clearmap", option("setmap", ""));
  }
}
