package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** VMs made of VMs and templates, with their disks. */
class CloneTest {
  private static final byte[] MARK = "here I am".getBytes(StandardCharsets.UTF_8);
  private static final long AT = 1 << 20;

  private static TestServer server;
  private static TestServer.Calls root;
  private static Path directory;
  private static String sr;

  @BeforeAll
  static void start() throws Exception {
    server = TestServer.start();
    root = server.calls();
    directory = server.directory.resolve("sr");
    sr = root.sr(directory);
  }

  @AfterAll
  static void stop() throws Exception {
    server.close();
  }

  private static Path image(Path where, String vdi) throws Exception {
    return StorageTest.image(where, root.text("VDI.get_uuid", vdi));
  }

  private static String marked(String name) throws Exception {
    String vm = root.vm(name, Map.of());
    String vdi = root.vdi(sr, name, 4 << 20);
    root.vbd(vm, vdi, 0);
    try (RandomAccessFile file = new RandomAccessFile(image(directory, vdi).toFile(), "rw")) {
      file.seek(AT);
      file.write(MARK);
    }
    root.text(
        "VIF.create",
        RecordsTest.required(
            "VIF", Map.of("VM", vm, "network", root.only("network"), "device", "0")));
    return vm;
  }

  private static String disk(String vm) throws Exception {
    List<String> vbds = TestServer.texts(root.call("VM.get_VBDs", vm));
    assertThat(vbds).hasSize(1);
    assertThat(root.text("VBD.get_userdevice", vbds.getFirst())).isEqualTo("0");
    return root.text("VBD.get_VDI", vbds.getFirst());
  }

  private static void assertMarked(Path image) throws Exception {
    byte[] content = Files.readAllBytes(image);
    assertThat(content).hasSize(4 << 20);
    assertThat(new String(content, (int) AT, MARK.length, StandardCharsets.UTF_8))
        .isEqualTo(new String(MARK, StandardCharsets.UTF_8));
  }

  @Test
  void aCloneHasDisksOfItsOwn() throws Exception {
    String vm = marked("original");
    String copy = root.text("VM.clone", vm, "clone");
    assertThat(root.text("VM.get_name_label", copy)).isEqualTo("clone");
    assertThat(disk(copy)).isNotEqualTo(disk(vm));
    assertThat(root.text("VDI.get_SR", disk(copy))).isEqualTo(sr);
    assertMarked(image(directory, disk(copy)));
    String vif = TestServer.texts(root.call("VM.get_VIFs", vm)).getFirst();
    String copied = TestServer.texts(root.call("VM.get_VIFs", copy)).getFirst();
    assertThat(root.text("VIF.get_MAC", copied)).isNotEqualTo(root.text("VIF.get_MAC", vif));
    root.call("VM.start", copy, false, false);
    assertCode("VM_BAD_POWER_STATE", () -> root.call("VM.clone", copy, "running"));
    root.call("VM.hard_shutdown", copy);
    root.call("VDI.destroy", disk(vm));
    assertMarked(image(directory, disk(copy)));
  }

  @Test
  void manyMayCloneOneVmAtOnce() throws Exception {
    String vm = marked("mother");
    Set<String> clones = ConcurrentHashMap.newKeySet();
    try (ExecutorService clients = Executors.newFixedThreadPool(8)) {
      List<Future<?>> all = new ArrayList<>();
      for (int i = 0; i < 8; i++) {
        String name = "daughter " + i;
        String method = i % 2 == 0 ? "VM.clone" : "VM.copy";
        all.add(
            clients.submit(() -> {
              clones.add(
                  method.equals("VM.clone")
                      ? root.text(method, vm, name)
                      : root.text(method, vm, name, "OpaqueRef:NULL"));
              return null;
            }));
      }
      for (Future<?> one : all) {
        one.get();
      }
    }
    assertThat(clones).hasSize(8);
    for (String clone : clones) {
      assertMarked(image(directory, disk(clone)));
    }
    assertThat(TestServer.texts(root.call("VM.get_allowed_operations", vm))).contains("start");
  }

  @Test
  void aCopyGoesToTheSrThatIsNamed() throws Exception {
    String vm = marked("settler");
    Path elsewhere = server.directory.resolve("elsewhere");
    String other = root.sr(elsewhere);
    String copy = root.text("VM.copy", vm, "settled", other);
    assertThat(root.text("VDI.get_SR", disk(copy))).isEqualTo(other);
    assertMarked(image(elsewhere, disk(copy)));
    String same = root.text("VM.copy", vm, "same", "OpaqueRef:NULL");
    assertThat(root.text("VDI.get_SR", disk(same))).isEqualTo(sr);
    assertCode("HANDLE_INVALID", () -> root.call("VM.copy", vm, "x", "OpaqueRef:none"));
  }

  /** Whatever copies in the end, and however far it is. */
  @ParameterizedTest
  @ValueSource(strings = {"VDI.copy", "VDI.clone", "VDI.snapshot", "VM.copy", "VM.clone"})
  void aCancelledCopyLeavesNothing(String message) throws Exception {
    String other = root.sr(server.directory.resolve("cancelled-" + message));
    String vm = root.vm("large", Map.of());
    String vdi = root.vdi(sr, "large", 192 << 20);
    root.vbd(vm, vdi, 0);
    byte[] some = new byte[1 << 20];
    new Random(1).nextBytes(some);
    try (RandomAccessFile file = new RandomAccessFile(image(directory, vdi).toFile(), "rw")) {
      for (long at = 0; at < 192 << 20; at += some.length) {
        file.write(some);
      }
    }
    String nobody = "OpaqueRef:NULL";
    // One that has been done before anybody could say so is none: then once more.
    for (int attempt = 0; ; attempt++) {
      assertThat(attempt).as("every one was faster").isLessThan(20);
      Set<String> disks = Set.copyOf(root.all("VDI"));
      Set<String> vms = Set.copyOf(root.all("VM"));
      Set<Path> files = files();
      String task =
          switch (message) {
            case "VDI.copy" -> root.text("Async.VDI.copy", vdi, other, nobody, nobody);
            case "VM.copy" -> root.text("Async.VM.copy", vm, "copy", other);
            case "VM.clone" -> root.text("Async.VM.clone", vm, "copy");
            default -> root.text("Async." + message, vdi, Map.of());
          };
      assertThat(TestServer.texts(root.call("task.get_allowed_operations", task)))
          .isIn(List.of("cancel"), List.of());
      try {
        root.call("task.cancel", task);
      } catch (XenApiException tooLate) {
        assertThat(tooLate.code()).isEqualTo("OPERATION_NOT_ALLOWED");
      }
      await()
          .atMost(Duration.ofSeconds(60))
          .until(() -> !root.text("task.get_status", task).equals("pending"));
      if (root.text("task.get_status", task).equals("success")) {
        continue;
      }
      assertThat(TestServer.texts(root.call("task.get_error_info", task)))
          .containsExactly("TASK_CANCELLED", task);
      assertThat(root.text("task.get_status", task)).isEqualTo("cancelled");
      assertThat(Set.copyOf(root.all("VDI"))).isEqualTo(disks);
      assertThat(Set.copyOf(root.all("VM"))).isEqualTo(vms);
      assertThat(files()).isEqualTo(files);
      assertThat(((Value.Struct) root.call("VM.get_current_operations", vm)).members()).isEmpty();
      return;
    }
  }

  private static Set<Path> files() throws Exception {
    try (Stream<Path> all = Files.walk(server.directory)) {
      return all.filter(f -> f.toString().endsWith(".raw")).collect(Collectors.toSet());
    }
  }

  @Test
  void disksAreClonedAndCopiedByThemselves() throws Exception {
    String vm = marked("owner");
    String vdi = disk(vm);
    root.call("VDI.add_tags", vdi, "red");
    root.call("VDI.add_to_other_config", vdi, "theirs", "kept");
    String twin = root.text("VDI.clone", vdi, Map.of());
    assertThat(root.text("VDI.get_SR", twin)).isEqualTo(sr);
    assertThat(root.text("VDI.get_name_label", twin)).isEqualTo("owner");
    assertMarked(image(directory, twin));
    Path far = server.directory.resolve("far");
    String there = root.sr(far);
    String nobody = "OpaqueRef:NULL";
    String copy = root.text("VDI.copy", vdi, there, nobody, nobody);
    assertMarked(image(far, copy));
    for (String made : List.of(twin, copy)) {
      assertThat(TestServer.texts(root.call("VDI.get_tags", made))).containsExactly("red");
      assertThat(TestServer.member(root.call("VDI.get_other_config", made), "theirs"))
          .isEqualTo(Value.of("kept"));
    }
    assertCode("HANDLE_INVALID", () -> root.call("VDI.copy", vdi, nobody, nobody, nobody));
    root.call("VM.start", vm, false, false);
    assertCode("VDI_IN_USE", () -> root.call("VDI.copy", vdi, there, nobody, nobody));
    assertCode("VDI_IN_USE", () -> root.call("VDI.clone", vdi, Map.of()));
    root.call("VM.hard_shutdown", vm);
  }

  private static void write(Path image, long at, byte[] content) throws Exception {
    try (RandomAccessFile file = new RandomAccessFile(image.toFile(), "rw")) {
      file.seek(at);
      file.write(content);
    }
  }

  private static byte[] some(int seed, int length) {
    byte[] content = new byte[length];
    new Random(seed).nextBytes(content);
    return content;
  }

  @Test
  void aDiskIsCopiedIntoAnother() throws Exception {
    String vdi = disk(marked("from"));
    Path far = server.directory.resolve("into");
    String there = root.sr(far);
    String into = root.vdi(there, "into", 5 << 20);
    Path target = image(far, into);
    write(target, 0, some(1, 5 << 20));
    String used = root.text("VDI.get_physical_utilisation", into);
    String nobody = "OpaqueRef:NULL";

    assertThat(root.text("VDI.copy", vdi, nobody, nobody, into)).isEqualTo(into);

    byte[] expected = some(1, 5 << 20);
    System.arraycopy(Files.readAllBytes(image(directory, vdi)), 0, expected, 0, 4 << 20);
    assertThat(Files.readAllBytes(target)).as("what is beyond its end stays").isEqualTo(expected);
    assertThat(root.text("VDI.get_name_label", into)).isEqualTo("into");
    assertThat(Long.parseLong(root.text("VDI.get_physical_utilisation", into)))
        .as("at the beginning %s", used)
        .isGreaterThanOrEqualTo(1 << 20);
    for (String disk : List.of(vdi, into)) {
      assertThat(root.call("VDI.get_current_operations", disk))
          .isEqualTo(Value.Struct.of(Map.of()));
      assertThat(TestServer.texts(root.call("VDI.get_allowed_operations", disk)))
          .contains("copy", "destroy");
    }
  }

  @Test
  void aDisksContentIsSummedUp() throws Exception {
    String vm = marked("summed");
    String vdi = disk(vm);
    write(image(directory, vdi), (3 << 20) + 17, some(5, 1 << 19));
    byte[] content = Files.readAllBytes(image(directory, vdi));
    String md5 =
        HexFormat.of().formatHex(java.security.MessageDigest.getInstance("MD5").digest(content));
    assertThat(root.text("VDI.checksum", vdi)).isEqualTo(md5);
    root.call("VM.start", vm, false, false);
    assertCode("VDI_IN_USE", () -> root.call("VDI.checksum", vdi));
    root.call("VM.hard_shutdown", vm);
    assertCode("HANDLE_INVALID", () -> root.call("VDI.checksum", "OpaqueRef:x"));
  }

  @Test
  void onlyWhatDiffersFromABaseIsCopied() throws Exception {
    String vdi = disk(marked("later"));
    String base = root.text("VDI.snapshot", vdi, Map.of());
    write(image(directory, vdi), 2 << 20, some(2, 1 << 20));
    write(image(directory, vdi), AT, new byte[1 << 20]);
    String into = root.vdi(sr, "backup", 4 << 20);
    write(image(directory, into), 3 << 20, some(3, 1 << 20));
    String nobody = "OpaqueRef:NULL";

    root.call("VDI.copy", vdi, nobody, base, into);

    byte[] expected = new byte[4 << 20];
    System.arraycopy(some(2, 1 << 20), 0, expected, 2 << 20, 1 << 20);
    System.arraycopy(some(3, 1 << 20), 0, expected, 3 << 20, 1 << 20);
    assertThat(Files.readAllBytes(image(directory, into))).isEqualTo(expected);

    String alone = root.text("VDI.copy", vdi, sr, base, nobody);
    Arrays.fill(expected, 3 << 20, 4 << 20, (byte) 0);
    assertThat(Files.readAllBytes(image(directory, alone))).isEqualTo(expected);
    assertThat(root.text("VDI.get_name_label", alone)).isEqualTo("later");
  }

  @Test
  void aDiskIsCopiedOnlyIntoOneThatNobodyHas() throws Exception {
    String vm = marked("keeper");
    String vdi = disk(vm);
    String nobody = "OpaqueRef:NULL";
    String small = root.vdi(sr, "small", 3 << 20);
    assertThatThrownBy(() -> root.call("VDI.copy", vdi, nobody, nobody, small))
        .isInstanceOfSatisfying(
            XenApiException.class,
            e -> {
              assertThat(e.code()).isEqualTo("VDI_TOO_SMALL");
              assertThat(e.params()).containsExactly(small, Long.toString(4 << 20));
            });
    String into = root.vdi(sr, "into", 4 << 20);
    root.call("VDI.set_read_only", into, true);
    assertCode("VDI_READONLY", () -> root.call("VDI.copy", vdi, nobody, nobody, into));
    root.call("VDI.set_read_only", into, false);
    assertCode("VDI_IN_USE", () -> root.call("VDI.copy", vdi, nobody, nobody, vdi));
    assertCode("VDI_IN_USE", () -> root.call("VDI.copy", vdi, nobody, into, into));
    assertCode("HANDLE_INVALID", () -> root.call("VDI.copy", vdi, nobody, "OpaqueRef:x", into));
    assertCode("HANDLE_INVALID", () -> root.call("VDI.copy", vdi, nobody, nobody, "OpaqueRef:x"));
    root.call("VM.start", vm, false, false);
    assertCode("VDI_IN_USE", () -> root.call("VDI.copy", into, nobody, nobody, vdi));
    assertCode("VDI_IN_USE", () -> root.call("VDI.copy", into, nobody, vdi, small));
    assertCode("VDI_IN_USE", () -> root.call("VDI.copy", vdi, nobody, nobody, into));
    root.call("VM.hard_shutdown", vm);
    String layered = root.layeredSr(server.directory.resolve("layers"));
    String frozen = root.text("VDI.snapshot", root.vdi(layered, "layered", 4 << 20), Map.of());
    assertCode("VDI_READONLY", () -> root.call("VDI.copy", vdi, nobody, nobody, frozen));
  }

  @Test
  void aDiskThatIsWrittenIsNobodyElses() throws Exception {
    String vdi = root.vdi(sr, "large", 192 << 20);
    write(image(directory, vdi), 0, some(4, 192 << 20));
    String vm = root.vm("waiting", Map.of());
    String into = root.vdi(sr, "into", 192 << 20);
    root.vbd(vm, into, 0);
    String nobody = "OpaqueRef:NULL";
    // One that has been done before anybody could look is none: then once more.
    for (int attempt = 0; ; attempt++) {
      assertThat(attempt).as("every one was faster").isLessThan(20);
      String task = root.text("Async.VDI.copy", vdi, nobody, nobody, into);
      String refusal = "";
      List<String> allowed = List.of();
      try {
        root.call("VM.start", vm, false, false);
        root.call("VM.hard_shutdown", vm);
      } catch (XenApiException e) {
        refusal = e.code();
        allowed = TestServer.texts(root.call("VDI.get_allowed_operations", into));
      }
      boolean cancelled = false;
      try {
        root.call("task.cancel", task);
        cancelled = true;
      } catch (XenApiException tooLate) {
        assertThat(tooLate.code()).isEqualTo("OPERATION_NOT_ALLOWED");
      }
      await()
          .atMost(Duration.ofSeconds(60))
          .until(() -> !root.text("task.get_status", task).equals("pending"));
      assertThat(root.call("VDI.get_current_operations", into))
          .isEqualTo(Value.Struct.of(Map.of()));
      if (cancelled && !refusal.isEmpty()) {
        assertThat(root.text("task.get_status", task)).isEqualTo("cancelled");
        assertThat(refusal).isIn("VDI_IN_USE", "OTHER_OPERATION_IN_PROGRESS");
        assertThat(allowed).isEmpty();
        break;
      }
    }
    root.call("VDI.copy", vdi, nobody, nobody, into);
    assertThat(Files.mismatch(image(directory, vdi), image(directory, into))).isEqualTo(-1);
    root.call("VM.start", vm, false, false);
    root.call("VM.hard_shutdown", vm);
  }

  @Test
  void aCopyThatFailsLeavesNothing() throws Exception {
    String vm = marked("greedy");
    String small = root.memorySr(1 << 20);
    List<String> vms = root.all("VM");
    List<String> vdis = root.all("VDI");
    Value operations = root.call("VM.get_allowed_operations", vm);
    org.assertj.core.api.Assertions.assertThatThrownBy(() -> root.call("VM.copy", vm, "x", small))
        .isInstanceOf(io.xenferry.model.XenApiException.class);
    assertThat(root.all("VM")).isEqualTo(vms);
    assertThat(root.all("VDI")).isEqualTo(vdis);
    assertThat(root.call("VM.get_allowed_operations", vm)).isEqualTo(operations);
    assertThat(root.call("VM.get_current_operations", vm)).isEqualTo(Value.Struct.of(Map.of()));
  }

  @Test
  void aTemplateDescribesItsDisks() throws Exception {
    String template = root.vm("template", Map.of());
    root.call("VM.set_is_a_template", template, true);
    root.call(
        "VM.add_to_other_config",
        template,
        "disks",
        "<provision><disk device=\"0\" size=\"2097152\" sr=\""
            + root.text("SR.get_uuid", sr)
            + "\" bootable=\"true\" type=\"system\"/></provision>");
    String vm = root.text("VM.clone", template, "provisioned");
    assertThat(root.call("VM.get_VBDs", vm)).isEqualTo(TestServer.value(List.of()));
    root.call("VM.provision", vm);
    assertThat(root.call("VM.get_is_a_template", vm)).isEqualTo(Value.of(false));
    assertThat(root.text("VDI.get_virtual_size", disk(vm))).isEqualTo("2097152");
    assertThat(root.text("VDI.get_type", disk(vm))).isEqualTo("system");
    root.call("VM.start", vm, false, false);
    root.call("VM.hard_shutdown", vm);

    for (String bad :
        List.of(
            "<provision><disk size=\"-1\"/></provision>",
            "<provision><disk size=\"many\"/></provision>",
            "<!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]><provision>&b;</provision>",
            "<provision>",
            "<provision><disk device=\"99\" size=\"1\"/></provision>")) {
      String odd = root.text("VM.clone", template, "odd");
      root.call("VM.remove_from_other_config", odd, "disks");
      root.call("VM.add_to_other_config", odd, "disks", bad);
      assertCode("INVALID_VALUE", () -> root.call("VM.provision", odd));
    }
    String homeless = root.text("VM.clone", template, "homeless");
    root.call("VM.remove_from_other_config", homeless, "disks");
    root.call(
        "VM.add_to_other_config",
        homeless,
        "disks",
        "<provision><disk size=\"1048576\"/></provision>");
    assertCode("DEFAULT_SR_NOT_FOUND", () -> root.call("VM.provision", homeless));
  }
}
