package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Linux in a machine that is not the usual one moves there and back while it runs, although its VM
 * is another machine from its next start on.
 */
@Timeout(600)
@Tag("slow")
class LinuxMachineMoveTest {

  @ParameterizedTest
  @ValueSource(
      strings = {
        "hpet=false vga=cirrus videoram=8 nic_type=e1000 usb_tablet=true acpi_s3=false nx=false",
        "acpi=false nic_type=rtl8139 videoram=32"
      })
  void goesOnThereAndBack(String keys) throws Exception {
    try (Moves moves = Moves.linux("io.xenferry.server.ServerMain", "--target", "auto")) {
      moves.writing(256 << 10, 2 << 20).install(32L << 20);
      Xe xe = Xe.local(moves.lab().alpha());
      for (String key : keys.split(" ")) {
        xe.run("vm-param-set", "uuid=" + moves.vm(), "platform:" + key);
      }
      moves.start();
      for (String key : keys.split(" ")) {
        String name = key.substring(0, key.indexOf('='));
        xe.run("vm-param-remove", "uuid=" + moves.vm(), "param-name=platform", "param-key=" + name);
      }
      String machine = options(moves.lab().alpha(), moves.vm());
      assertThat(machine).contains("videoram=", "nic_type=");
      for (int way = 0; way < 2; way++) {
        Site from = moves.owner();
        Xe.Outcome outcome = moves.move(from).await();
        assertThat(outcome.exit()).as(outcome + moves.describe()).isZero();
        Site now = moves.assertWell();
        assertThat(now).isSameAs(moves.other(from));
        assertThat(options(now, moves.vm())).isEqualTo(machine);
        assertThat(moves.observer().boots()).isEqualTo(1);
        assertThat(moves.observer().anomalies()).isEmpty();
      }
    }
  }

  private static String options(Site site, String vm) throws Exception {
    Path spec = site.stateDirectory().resolve("guests").resolve(vm).resolve("spec.json");
    return Files.readString(spec).replaceAll("(?s).*\"options\":\"([^\"]*)\".*", "$1");
  }
}
