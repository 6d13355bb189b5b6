package io.xenferry.wire;

import java.math.BigDecimal;
import java.math.MathContext;
import java.math.RoundingMode;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Doubles as C's {@code %.16g} prints them, which is what published servers send. */
public final class Doubles {
  private static final int DIGITS = 16;

  /** Longer texts than any double needs are refused before they cost anything. */
  private static final int LONGEST = 400;

  private static final Pattern NUMBER =
      Pattern.compile("[+-]?(?:[0-9]+\\.?[0-9]*|\\.[0-9]+)(?:[eE][+-]?[0-9]{1,9})?");

  private static final Pattern INFINITE =
      Pattern.compile("([+-]?)inf(?:inity)?", Pattern.CASE_INSENSITIVE);

  private static final Pattern NAN = Pattern.compile("[+-]?nan", Pattern.CASE_INSENSITIVE);

  private Doubles() {}

  /**
   * Reads a decimal number, or {@code nan} and {@code inf} as C and Python write them. The result
   * may thus be no finite number: whoever takes it says what that means.
   *
   * @throws WireException when the text is none
   */
  public static double parse(String text) throws WireException {
    String word = text.strip();
    if (word.length() <= LONGEST) {
      if (NUMBER.matcher(word).matches()) {
        return Double.parseDouble(word);
      }
      Matcher infinite = INFINITE.matcher(word);
      if (infinite.matches()) {
        return infinite.group(1).equals("-") ? Double.NEGATIVE_INFINITY : Double.POSITIVE_INFINITY;
      }
      if (NAN.matcher(word).matches()) {
        return Double.NaN;
      }
    }
    throw new WireException("not a double");
  }

  /** NaN and the infinities become 0: clients choke on {@code nan}. */
  static String format(double d) {
    if (d == 0 || !Double.isFinite(d)) {
      return "0";
    }
    BigDecimal b =
        new BigDecimal(d)
            .round(new MathContext(DIGITS, RoundingMode.HALF_EVEN))
            .stripTrailingZeros();
    int exponent = b.precision() - b.scale() - 1;
    if (exponent >= -4 && exponent < DIGITS) {
      return b.toPlainString();
    }
    String digits = b.unscaledValue().abs().toString();
    StringBuilder s = new StringBuilder(d < 0 ? "-" : "").append(digits.charAt(0));
    if (digits.length() > 1) {
      s.append('.').append(digits, 1, digits.length());
    }
    return s.append(exponent < 0 ? "e-" : "e+")
        .append(Math.abs(exponent) < 10 ? "0" : "")
        .append(Math.abs(exponent))
        .toString();
  }
}
