package io.xenferry.nbd;

import java.io.IOException;
import java.nio.channels.ByteChannel;

/** Puts TLS on a connection once both ends agreed on it (NBD_OPT_STARTTLS). */
@FunctionalInterface
public interface TlsUpgrade {
  /**
   * Does the TLS handshake, blocking, and answers a channel for what follows. Closing the result
   * closes {@code plain}, and closing {@code plain} ends the handshake.
   *
   * @throws io.xenferry.block.BlockException ACCESS when the peer is not who it should be, PROTOCOL
   *     when what it sends is no TLS that we speak
   */
  SecureChannel upgrade(ByteChannel plain) throws IOException;
}
