package io.xenferry.copy;

import java.util.Arrays;
import java.util.Optional;

/** How a disk that is being written is copied. */
public enum Strategy {
  /** What is allocated, then what became dirty, in passes; the guest never waits for the copy. */
  LOG_DIRTY("log-dirty"),
  /** From the first moment on the guest's writes go to both sides, while the rest is copied. */
  MIRROR("mirror"),
  /** {@code log-dirty} until little is left, or passes get nowhere; then {@code mirror}. */
  AUTO("auto"),
  /** Frozen snapshots one after another, where nobody notes the guest's writes. */
  SNAPSHOT("snapshot");

  private final String word;

  Strategy(String word) {
    this.word = word;
  }

  /** As users write it. */
  public String word() {
    return word;
  }

  /** The strategy of that word. */
  public static Optional<Strategy> of(String word) {
    return Arrays.stream(values()).filter(strategy -> strategy.word.equals(word)).findFirst();
  }
}
