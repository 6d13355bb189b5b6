package io.xenferry.server.migration;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class VmDocumentTest {
  private static String document(int version, String more) {
    return "{\"version\":"
        + version
        + ",\"ref\":\"OpaqueRef:00000000-0000-4000-8000-000000000000\""
        + more
        + "}";
  }

  private static String machine(String options) {
    return ",\"machine\":{\"type\":\"pc-q35-7.2\",\"cpu\":\"qemu64\",\"layout\":2,"
        + "\"serial_ports\":1,\"cores_per_socket\":2,\"options\":\""
        + options
        + "\"}";
  }

  /** A server that knows version 1 only would build the usual machine, and lose the guest's. */
  @Test
  void aMachineThatIsNotTheUsualOneNeedsAServerThatKnowsIt() {
    VmDocument unusual = VmDocument.parse(document(2, machine("vga=cirrus")));
    assertThat(unusual.text()).startsWith("{\"version\":2,").contains("vga=cirrus");
    assertThat(VmDocument.parse(unusual.text()).machine()).isEqualTo(unusual.machine());

    VmDocument usual = VmDocument.parse(document(2, machine("")));
    assertThat(usual.text()).startsWith("{\"version\":1,").contains("\"cores_per_socket\":2");
    assertThat(VmDocument.parse(usual.text()).machine()).isEqualTo(usual.machine());
  }

  @Test
  void anOlderServerTellsOfNoMachine() {
    VmDocument older = VmDocument.parse(document(1, ""));
    assertThat(older.machine()).isEmpty();
    assertThat(older.text()).startsWith("{\"version\":1,").doesNotContain("\"machine\"");
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 3})
  void anotherVersionIsRefused(int version) {
    assertThatThrownBy(() -> VmDocument.parse(document(version, "")))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("version");
  }

  @Test
  void aMachineThatIsNotKnownIsRefused() {
    assertThatThrownBy(() -> VmDocument.parse(document(2, machine("later=on"))))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("later=on");
  }
}
