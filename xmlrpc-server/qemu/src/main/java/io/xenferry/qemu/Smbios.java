package io.xenferry.qemu;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** What SMBIOS (DMTF DSP0134) tells a guest of its machine. */
final class Smbios {
  /** One string: the structure's type, QEMU's name of it, and the XenAPI's. */
  private record Text(int type, String option, String key) {}

  private static final List<Text> TEXTS =
      List.of(
          new Text(0, "vendor", "bios-vendor"),
          new Text(0, "version", "bios-version"),
          new Text(1, "manufacturer", "system-manufacturer"),
          new Text(1, "product", "system-product-name"),
          new Text(1, "version", "system-version"),
          new Text(1, "serial", "system-serial-number"),
          new Text(2, "manufacturer", "baseboard-manufacturer"),
          new Text(2, "product", "baseboard-product-name"),
          new Text(2, "version", "baseboard-version"),
          new Text(2, "serial", "baseboard-serial-number"),
          new Text(2, "asset", "baseboard-asset-tag"),
          new Text(2, "location", "baseboard-location-in-chassis"),
          new Text(3, "asset", "enclosure-asset-tag"));

  private static final int TYPES = 4;

  private Smbios() {}

  /** Values of QEMU's option, one for each structure of which something is told. */
  static List<String> options(Map<String, String> biosStrings) {
    List<String> options = new ArrayList<>();
    for (int type = 0; type < TYPES; type++) {
      StringBuilder option = new StringBuilder("type=").append(type);
      boolean any = false;
      for (Text text : TEXTS) {
        String value = biosStrings.getOrDefault(text.key(), "");
        if (text.type() == type && !value.isEmpty()) {
          option.append(',').append(text.option()).append('=').append(QemuLauncher.doubled(value));
          any = true;
        }
      }
      if (any) {
        options.add(option.toString());
      }
    }
    return options;
  }
}
