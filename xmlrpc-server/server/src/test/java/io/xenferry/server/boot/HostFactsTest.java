package io.xenferry.server.boot;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class HostFactsTest {
  private static final String PROCESSOR =
      """
      processor\t: %d
      vendor_id\t: GenuineIntel
      cpu family\t: 6
      model\t\t: 143
      model name\t: A Processor @ 2.00GHz
      stepping\t: 8
      cpu MHz\t\t: 2000.000
      physical id\t: %d
      siblings\t: 4
      cpu cores\t: 2
      flags\t\t: fpu vme

      """;

  @Test
  void processorsAreToldAsLinuxTellsOfThem(@TempDir Path directory) throws Exception {
    StringBuilder text = new StringBuilder();
    for (int i = 0; i < 8; i++) {
      text.append(PROCESSOR.formatted(i, i / 4));
    }
    Path file = Files.writeString(directory.resolve("cpuinfo"), text);

    assertThat(HostFacts.cpuInfo(file, 8))
        .containsEntry("cpu_count", "8")
        .containsEntry("socket_count", "2")
        .containsEntry("threads_per_core", "2")
        .containsEntry("vendor", "GenuineIntel")
        .containsEntry("modelname", "A Processor @ 2.00GHz")
        .containsEntry("family", "6")
        .containsEntry("model", "143")
        .containsEntry("stepping", "8")
        .containsEntry("speed", "2000")
        .containsEntry("flags", "fpu vme");
  }

  @Test
  void aMachineThatTellsNothingHasOneOfEach(@TempDir Path directory) throws Exception {
    assertThat(HostFacts.cpuInfo(directory.resolve("nothing"), 3))
        .containsEntry("cpu_count", "3")
        .containsEntry("socket_count", "1")
        .containsEntry("threads_per_core", "1")
        .containsEntry("vendor", "unknown");
  }
}
