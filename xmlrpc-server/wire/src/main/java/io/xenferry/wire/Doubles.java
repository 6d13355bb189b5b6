package io.xenferry.wire;

import java.math.BigDecimal;
import java.math.MathContext;
import java.math.RoundingMode;

/** Doubles as C's {@code %.16g} prints them, which is what published servers send. */
final class Doubles {
  private static final int DIGITS = 16;

  private Doubles() {}

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
