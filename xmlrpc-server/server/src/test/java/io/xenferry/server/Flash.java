package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.Map;
import java.util.zip.GZIPInputStream;

/** The flash memory of a VM's UEFI firmware, in VM.NVRAM and beside the guest. */
record Flash(TestServer server, TestServer.Calls root) {
  static final String KEY = "EFI-variables";
  static final Path TEMPLATE = Path.of("/usr/share/OVMF/OVMF_VARS_4M.fd");

  /** Where guests do not look that have no firmware: in the middle of the spare block. */
  private static final int PLACE = 400_000;

  static void require() {
    if ("true".equals(System.getenv("XENFERRY_REQUIRE_TOOLS"))) {
      assertThat(TEMPLATE).as("of Debian package ovmf").isRegularFile();
    }
    assumeTrue(Files.isRegularFile(TEMPLATE), "OVMF is not installed");
  }

  /** Makes a VM start by UEFI. */
  void uefi(String vm) throws XenApiException {
    root.call("VM.set_HVM_boot_policy", vm, "BIOS order");
    root.call("VM.set_HVM_boot_params", vm, Map.of("firmware", "uefi", "order", "c"));
  }

  /** Where it is while the VM runs. */
  Path file(String vm) throws XenApiException {
    return fileOf(root.text("VM.get_uuid", vm));
  }

  Path fileOf(String uuid) {
    return server.directory.resolve("firmware").resolve(uuid + ".fd");
  }

  /** Changes it as the guest would. */
  void write(String vm, String words) throws Exception {
    try (RandomAccessFile file = new RandomAccessFile(file(vm).toFile(), "rw")) {
      file.seek(PLACE);
      file.write(words.getBytes(StandardCharsets.US_ASCII));
    }
  }

  static String words(byte[] image, int length) {
    return new String(image, PLACE, length, StandardCharsets.US_ASCII);
  }

  /** What stands where {@link #write} writes. */
  String inFile(String vm, int length) throws Exception {
    return words(Files.readAllBytes(file(vm)), length);
  }

  /** The same of the record. */
  String inRecord(String vm, int length) throws Exception {
    return words(recorded(vm), length);
  }

  byte[] recorded(String vm) throws Exception {
    Value value = TestServer.member(root.call("VM.get_NVRAM", vm), KEY);
    assertThat(value).as("NVRAM:" + KEY).isNotNull();
    return unpack(TestServer.text(value));
  }

  private static byte[] unpack(String value) throws IOException {
    byte[] packed = Base64.getDecoder().decode(value);
    try (GZIPInputStream in = new GZIPInputStream(new ByteArrayInputStream(packed))) {
      return in.readAllBytes();
    }
  }
}
