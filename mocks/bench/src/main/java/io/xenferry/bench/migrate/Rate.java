package io.xenferry.bench.migrate;

import java.util.Locale;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/**
 * How much the guest writes.
 *
 * @param name as people write it: idle, megabytes a second, or max
 * @param option as the guest reads it
 */
record Rate(String name, String option) {
  private static final int LARGEST = 10_000;

  boolean writes() {
    return !option.equals("0");
  }

  String label() {
    return Character.isDigit(name.charAt(0)) ? name + " MB/s" : name;
  }

  static Rate parse(String text) {
    String word = text.toLowerCase(Locale.ROOT).strip();
    if (word.equals("idle")) {
      return new Rate(word, "0");
    }
    if (word.equals("max")) {
      return new Rate(word, "max");
    }
    double megabytes = Double.parseDouble(word);
    if (!(megabytes > 0 && megabytes <= LARGEST)) {
      throw new NumberFormatException(text);
    }
    return new Rate(word, Long.toString(Math.round(megabytes * 1e6)));
  }

  /** For the command line. */
  static final class Converter implements ITypeConverter<Rate> {
    @Override
    public Rate convert(String text) {
      try {
        return parse(text);
      } catch (NumberFormatException e) {
        throw new TypeConversionException("not idle, max or MB/s: " + text);
      }
    }
  }
}
