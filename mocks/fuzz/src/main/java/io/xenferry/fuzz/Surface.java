package io.xenferry.fuzz;

import java.util.List;

/** A place where bytes come in that somebody else made. */
interface Surface extends AutoCloseable {
  /** Small inputs from which a fuzzer can find its way: what well-behaved peers say. */
  List<byte[]> seeds() throws Exception;

  /**
   * Takes an input as if it had come in.
   *
   * @throws Exception the product did what it must never do with bytes from outside: an error of
   *     another kind than promised, a hang, something left over
   */
  void take(byte[] input) throws Exception;

  @Override
  default void close() throws Exception {}
}
