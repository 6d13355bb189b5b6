package io.xenferry.bench.measure;

import java.util.Locale;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/** Sizes as people write them: 512K, 64M, 2G, or plain bytes. */
public final class ByteCount implements ITypeConverter<Long> {

  @Override
  public Long convert(String text) {
    String digits = text.toUpperCase(Locale.ROOT).replaceFirst("I?B?$", "");
    int shift = 0;
    if (!digits.isEmpty()) {
      shift =
          switch (digits.charAt(digits.length() - 1)) {
            case 'K' -> 10;
            case 'M' -> 20;
            case 'G' -> 30;
            case 'T' -> 40;
            default -> 0;
          };
    }
    try {
      long number = Long.parseLong(shift == 0 ? digits : digits.substring(0, digits.length() - 1));
      if (number <= 0 || number > Long.MAX_VALUE >> shift) {
        throw new TypeConversionException("not a size: " + text);
      }
      return number << shift;
    } catch (NumberFormatException e) {
      throw new TypeConversionException("not a size: " + text);
    }
  }
}
