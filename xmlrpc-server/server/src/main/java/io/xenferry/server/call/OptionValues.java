package io.xenferry.server.call;

import io.xenferry.model.XenApiException;
import java.util.Collection;
import java.util.List;
import java.util.function.Predicate;

/**
 * Which values an option of a message takes.
 *
 * @param has whether it takes a value
 * @param allowed the same for people
 */
public record OptionValues(Predicate<String> has, String allowed) {
  /** Characters of a value that a refusal repeats. */
  private static final int SHOWN = 100;

  /** These words and nothing else. */
  public static OptionValues words(Collection<String> words) {
    return new OptionValues(List.copyOf(words)::contains, String.join(", ", words));
  }

  public boolean has(String value) {
    return has.test(value);
  }

  /**
   * @param name of the option
   * @throws XenApiException as {@link #refusal}
   */
  public void check(String name, String value) throws XenApiException {
    if (!has(value)) {
      throw refusal(name, value);
    }
  }

  /** INVALID_VALUE [name, value], the latter with what is allowed instead. */
  public XenApiException refusal(String name, String value) {
    String shown = value.length() > SHOWN ? value.substring(0, SHOWN) + "…" : value;
    return new XenApiException(
        "INVALID_VALUE", name, (shown.isEmpty() ? "''" : shown) + " (allowed: " + allowed + ")");
  }
}
