package io.xenferry.xe.client;

import java.io.IOException;
import java.nio.charset.StandardCharsets;

/**
 * What {@code --debug} shows at once and {@code --debug-on-fail} keeps until the end, at most 1 MiB
 * of it.
 */
final class Trace {
  private static final int KEPT_LIMIT = 1 << 20;

  private final boolean now;
  private final boolean later;
  private final Instructions.Streams streams;
  private final StringBuilder kept = new StringBuilder();

  Trace(Options options, Instructions.Streams streams) {
    this.now = options.debug();
    this.later = options.debugOnFail();
    this.streams = streams;
  }

  void line(String text) throws IOException {
    String line = text.endsWith("\n") ? text : text + "\n";
    if (now) {
      streams.complain(line);
    } else if (later && kept.length() + line.length() <= KEPT_LIMIT) {
      kept.append(line);
    }
  }

  void finish(int status) throws IOException {
    if (status != 0 && !kept.isEmpty()) {
      streams.err().write(kept.toString().getBytes(StandardCharsets.UTF_8));
      streams.err().flush();
    }
  }
}
