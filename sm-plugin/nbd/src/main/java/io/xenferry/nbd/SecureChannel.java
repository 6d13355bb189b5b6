package io.xenferry.nbd;

import java.io.IOException;
import java.nio.channels.ByteChannel;
import java.util.Optional;

/**
 * An encrypted connection. One thread may read while another writes; closing ends both, at once and
 * without a word.
 *
 * <p>The end of the stream, as a read answers it, is the peer's own word: a connection that was cut
 * fails with an IOException instead.
 */
public interface SecureChannel extends ByteChannel {
  /** SHA-256 of the certificate that the peer has shown and has the key of, lower-case hex. */
  Optional<String> peer();

  /** How long data has been encrypted and decrypted so far, in nanoseconds; from any thread. */
  long cipherNanos();

  /** Tells the peer that nothing more will be written; blocks as a write does. */
  void sayGoodbye() throws IOException;
}
