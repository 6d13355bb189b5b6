package io.xenferry.guest.linux;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.zip.CRC32C;

/**
 * One line of the guest's, see {@code writer.c}.
 *
 * @param boot a random number of this boot
 * @param time nanoseconds of the guest's monotonic clock
 */
record Heartbeat(String boot, long time, List<DiskState> disks) {

  /**
   * @param disk 0 for vda
   * @param blocks that are written to
   * @param first number of this boot's first record
   * @param acknowledged number of the last record that is on stable storage
   * @param longest nanoseconds between two acknowledgements, by the guest's clock
   * @param errors writes that failed
   */
  record DiskState(
      int disk, long blocks, long first, long acknowledged, long longest, long errors) {}

  /** Empty for what is no whole line, as when one comes in the middle. */
  static Optional<Heartbeat> parse(String line) {
    int star = line.lastIndexOf('*');
    if (!line.startsWith("XF1 ") || star < 0) {
      return Optional.empty();
    }
    try {
      CRC32C crc = new CRC32C();
      crc.update(line.substring(0, star).getBytes(StandardCharsets.ISO_8859_1));
      if (Long.parseLong(line.substring(star + 1), 16) != crc.getValue()) {
        return Optional.empty();
      }
      String[] words = line.substring(0, star).trim().split(" ");
      List<DiskState> disks = new ArrayList<>();
      for (int i = 3; i < words.length; i++) {
        String[] n = words[i].split(":");
        disks.add(
            new DiskState(
                Integer.parseInt(n[0]),
                Long.parseLong(n[1]),
                Long.parseLong(n[2]),
                Long.parseLong(n[3]),
                Long.parseLong(n[4]),
                Long.parseLong(n[5])));
      }
      return Optional.of(new Heartbeat(words[1], Long.parseLong(words[2]), List.copyOf(disks)));
    } catch (NumberFormatException | IndexOutOfBoundsException e) {
      return Optional.empty();
    }
  }
}
