package io.xenferry.guest;

/**
 * The bytes between two simulated guests, big-endian: magic, number of pages; then {@value
 * #PAGE_FOLLOWS}, index, 4096 bytes, as often as need be; then {@value #STATE_FOLLOWS}, length,
 * JSON, its CRC32C, and the end.
 */
final class MemoryStream {
  static final int MAGIC = 0x58464D31;
  static final int PAGE_FOLLOWS = 'P';
  static final int STATE_FOLLOWS = 'S';
  static final int STATE_LIMIT = 1 << 20;

  private MemoryStream() {}
}
