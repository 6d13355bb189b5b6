package io.xenferry.nbd;

import io.xenferry.block.BlockBackend;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/**
 * What a server offers under one name.
 *
 * @param backend stays the caller's: removing the export does not close it
 * @param description for people who list exports; may be empty
 * @param contexts metadata contexts besides {@code base:allocation}, by their full names
 * @param client SHA-256 of the certificate that a client must show, lower-case hex; none means that
 *     no certificate is needed
 * @param flushed whether clients are told that there is something to flush
 */
public record NbdExport(
    BlockBackend backend,
    String description,
    Map<String, BlockStatusSource> contexts,
    Optional<String> client,
    boolean flushed) {
  public NbdExport {
    contexts = Map.copyOf(contexts);
  }

  public static NbdExport of(BlockBackend backend) {
    return new NbdExport(backend, "", Map.of(), Optional.empty(), true);
  }

  /** The same for one client alone. */
  public NbdExport onlyFor(String fingerprint) {
    return new NbdExport(backend, description, contexts, Optional.of(fingerprint), flushed);
  }

  /**
   * The same to clients that have no use for flushes: they are not told that they may, and one that
   * is sent all the same is answered.
   */
  public NbdExport withoutFlush() {
    return new NbdExport(backend, description, contexts, client, false);
  }

  boolean admits(Optional<String> peer) {
    return client.isEmpty() || client.equals(peer);
  }

  /** The same with one more context. */
  public NbdExport withContext(String name, BlockStatusSource source) {
    Map<String, BlockStatusSource> more = new LinkedHashMap<>(contexts);
    more.put(name, source);
    return new NbdExport(backend, description, more, client, flushed);
  }
}
