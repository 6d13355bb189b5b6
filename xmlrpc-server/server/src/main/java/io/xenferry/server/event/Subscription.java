package io.xenferry.server.event;

import io.xenferry.model.XenApiException;
import java.util.ArrayList;
import java.util.List;

/**
 * {@code *}, {@code class} or {@code class/OpaqueRef:…}; classes in any case.
 *
 * @param className empty for all
 * @param ref empty for all of the class
 */
record Subscription(String className, String ref) {

  static List<Subscription> parse(List<String> texts) throws XenApiException {
    List<Subscription> all = new ArrayList<>();
    for (String text : texts) {
      int slash = text.indexOf('/');
      if (text.isEmpty() || slash == 0 || slash == text.length() - 1) {
        throw new XenApiException("EVENT_SUBSCRIPTION_PARSE_FAILURE", text);
      }
      if (text.equals("*")) {
        all.add(new Subscription("", ""));
      } else if (slash < 0) {
        all.add(new Subscription(text, ""));
      } else {
        all.add(new Subscription(text.substring(0, slash), text.substring(slash + 1)));
      }
    }
    return all;
  }

  static boolean anyOf(List<Subscription> all, String className) {
    return all.stream()
        .anyMatch(s -> s.className.isEmpty() || s.className.equalsIgnoreCase(className));
  }

  static boolean anyMatch(List<Subscription> all, String className, String ref) {
    return all.stream()
        .anyMatch(s ->
            s.className.isEmpty()
                || (s.className.equalsIgnoreCase(className)
                    && (s.ref.isEmpty() || s.ref.equals(ref))));
  }
}
