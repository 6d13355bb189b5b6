package io.xenferry.sr;

import java.io.IOException;
import java.nio.file.Path;

/** Offers images to other hosts; the server puts its iSCSI target service behind it. */
public interface VdiExporter {

  /**
   * Opens an export and answers its URL, with credentials. Opening again what is open under the tag
   * answers the same.
   *
   * @param image a raw file or device
   * @param size bytes
   * @param tag names the export, for logs and for closing; letters, digits, {@code -} and {@code /}
   */
  String open(Path image, long size, String tag) throws IOException;

  /**
   * Closes an export. When this returns nothing that a client sent can reach the image any more.
   * Closing what is not open does nothing. After a failure it counts as open.
   */
  void close(String tag) throws IOException;

  /**
   * Whether the export was opened, now or before a restart, and has not been closed for certain.
   * Does not block.
   */
  boolean isOpen(String tag);

  /** For servers that export nothing. */
  VdiExporter NONE =
      new VdiExporter() {
        @Override
        public String open(Path image, long size, String tag) throws IOException {
          throw new IOException("no target service is configured");
        }

        @Override
        public void close(String tag) {}

        @Override
        public boolean isOpen(String tag) {
          return false;
        }
      };
}
