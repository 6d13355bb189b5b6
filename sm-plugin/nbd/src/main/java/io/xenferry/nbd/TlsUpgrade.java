package io.xenferry.nbd;

import java.io.IOException;
import java.nio.channels.ByteChannel;

/** Puts TLS on a connection once both ends agreed on it (NBD_OPT_STARTTLS). */
@FunctionalInterface
public interface TlsUpgrade {
  /**
   * Does the TLS handshake, blocking, and answers a channel for what follows. The result must let
   * one thread read while another writes, and closing it must end both and close {@code plain}.
   */
  ByteChannel upgrade(ByteChannel plain) throws IOException;
}
