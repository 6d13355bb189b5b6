package io.xenferry.schema.generate;

import java.util.Locale;
import java.util.Set;

/** Java names for the data model's. */
final class Names {
  private static final Set<String> TAKEN = Set.of("CLASS");

  private Names() {}

  /** {@code VM_metrics} to {@code VMMetrics}, {@code vm_power_state} to {@code VmPowerState}. */
  static String type(String wire) {
    StringBuilder out = new StringBuilder();
    boolean upper = true;
    for (char c : wire.toCharArray()) {
      if (c == '_') {
        upper = true;
      } else {
        out.append(upper ? Character.toUpperCase(c) : c);
        upper = false;
      }
    }
    return out.toString();
  }

  /** A field's constant: {@code power_state} to {@code POWER_STATE}. */
  static String field(String wire) {
    String name = wire.toUpperCase(Locale.ROOT);
    return TAKEN.contains(name) ? name + "_NAME" : name;
  }

  /** A word's constant: {@code balance-slb} to {@code BALANCE_SLB}. */
  static String word(String wire) {
    StringBuilder out = new StringBuilder();
    char before = '_';
    for (char c : wire.toCharArray()) {
      if (Character.isUpperCase(c) && Character.isLowerCase(before)) {
        out.append('_');
      }
      out.append(Character.isLetterOrDigit(c) ? Character.toUpperCase(c) : '_');
      before = c;
    }
    return Character.isDigit(out.charAt(0)) ? "_" + out : out.toString();
  }

  /** A Java string literal. */
  static String quote(String text) {
    return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n") + '"';
  }
}
