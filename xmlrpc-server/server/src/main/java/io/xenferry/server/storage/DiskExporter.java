package io.xenferry.server.storage;

import io.xenferry.server.storage.MigrationDisks.ExportName;
import io.xenferry.sr.VdiExporter;
import java.io.IOException;
import java.util.function.Predicate;

/** Offers images by one {@link Transport}, under names that migrations have agreed on. */
interface DiskExporter extends VdiExporter {

  /** The name and account for the next export with the tag. */
  void agree(String tag, ExportName name);

  /** Closes every export whose name, an {@link ExportName}'s, is to be closed. */
  void closeIf(Predicate<String> unwanted) throws IOException;

  /**
   * Once, before anything else runs: what a server before this one had open and is still wanted is
   * open afterwards, under the same URL where that is possible, and everything else is closed.
   */
  void takeUp(Predicate<String> wanted) throws IOException;
}
