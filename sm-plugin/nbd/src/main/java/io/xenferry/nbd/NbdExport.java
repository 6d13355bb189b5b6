package io.xenferry.nbd;

import io.xenferry.block.BlockBackend;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * What a server offers under one name.
 *
 * @param backend stays the caller's: removing the export does not close it
 * @param description for people who list exports; may be empty
 * @param contexts metadata contexts besides {@code base:allocation}, by their full names
 */
public record NbdExport(
    BlockBackend backend, String description, Map<String, BlockStatusSource> contexts) {
  public NbdExport {
    contexts = Map.copyOf(contexts);
  }

  public static NbdExport of(BlockBackend backend) {
    return new NbdExport(backend, "", Map.of());
  }

  /** The same with one more context. */
  public NbdExport withContext(String name, BlockStatusSource source) {
    Map<String, BlockStatusSource> more = new LinkedHashMap<>(contexts);
    more.put(name, source);
    return new NbdExport(backend, description, more);
  }
}
