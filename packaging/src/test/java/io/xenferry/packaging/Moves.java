package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.guest.Verdict;
import io.xenferry.guest.linux.HeartbeatObserver;
import io.xenferry.guest.linux.LinuxGuest;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.qemu.QemuProvider;
import io.xenferry.sr.VdiInfo;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;

/**
 * A laboratory with a VM that never stops writing, moves of it, and what must hold after each:
 * looked at from outside, at the files, processes, targets and records of both sites.
 */
final class Moves implements AutoCloseable {
  static final PrintStream QUIET =
      new PrintStream(OutputStream.nullOutputStream(), true, StandardCharsets.UTF_8);

  /** Both servers and everything they start, on a machine that does other things as well. */
  static final Duration PATIENCE = Duration.ofSeconds(90);

  private static final long WRITTEN = 16_384;

  private final Path directory;
  private final Laboratory lab;
  private final Optional<LinuxWorkload> linux;
  private String vm = "";
  private String format = DiskFiles.RAW;
  private int rate = 512 << 10;
  private int span = 16 << 20;

  /**
   * With the simulated guest.
   *
   * @param program the main class of both servers
   */
  Moves(String program, String... serverOptions) throws IOException {
    this(Optional.empty(), program, with(Laboratory.SIMULATED, serverOptions));
  }

  /** The same in networks of their own. */
  Moves(Cable cable, String program, String... serverOptions) throws IOException {
    this.linux = Optional.empty();
    directory = Files.createTempDirectory(Path.of("/tmp"), "xf");
    lab =
        new Laboratory(
            directory,
            program,
            with(Laboratory.SIMULATED, serverOptions),
            QUIET,
            cable.alpha(),
            cable.beta());
  }

  private Moves(Optional<LinuxWorkload> linux, String program, List<String> serverOptions)
      throws IOException {
    this.linux = linux;
    // Short: the guests' Unix sockets lie in it, and a socket's path has 107 bytes at most.
    directory = Files.createTempDirectory(Path.of("/tmp"), "xf");
    lab = new Laboratory(directory, program, serverOptions, QUIET);
  }

  /** With Linux in QEMU; where what it needs is missing the test is skipped, or fails. */
  static Moves linux(String program, String... serverOptions) throws Exception {
    require(LinuxGuest.missing());
    return of(LinuxWorkload.prepare(), program, serverOptions);
  }

  /** The same with the QEMU guest agent in the guest. */
  static Moves linuxWithAgent(String program, String... serverOptions) throws Exception {
    require(LinuxGuest.agentMissing());
    return of(LinuxWorkload.prepareWithAgent(), program, serverOptions);
  }

  private static void require(Optional<String> guest) {
    Optional<String> missing =
        QemuProvider.program().isEmpty() ? Optional.of("qemu-system-x86_64") : guest;
    if ("true".equals(System.getenv("XENFERRY_REQUIRE_TOOLS"))) {
      assertThat(missing).as("what the Linux guest needs").isEmpty();
    }
    Assumptions.assumeTrue(missing.isEmpty(), "the Linux guest needs " + missing.orElse(""));
  }

  private static Moves of(LinuxWorkload workload, String program, String... serverOptions)
      throws IOException {
    return new Moves(Optional.of(workload), program, with(workload.serverOptions(), serverOptions));
  }

  private static List<String> with(List<String> options, String... more) {
    return Stream.concat(options.stream(), Stream.of(more)).toList();
  }

  Laboratory lab() {
    return lab;
  }

  String vm() {
    return vm;
  }

  List<Site> sites() {
    return List.of(lab.alpha(), lab.beta());
  }

  Site other(Site site) {
    return site == lab.alpha() ? lab.beta() : lab.alpha();
  }

  /**
   * How much the Linux guest writes, from the next VM on.
   *
   * @param bytesPerSecond over all disks
   * @param bytes at the beginning of each disk that it writes to
   */
  Moves writing(int bytesPerSecond, int bytes) {
    rate = bytesPerSecond;
    span = bytes;
    return this;
  }

  /** Starts both servers, makes their SRs, and a VM with raw disks. */
  void install(long... diskSizes) throws Exception {
    startServers();
    addVm(DiskFiles.RAW, diskSizes);
  }

  /** Starts both servers and makes their SRs: for raw disks and, with the Linux guest, qcow2. */
  void startServers() throws Exception {
    lab.start();
    for (Site site : sites()) {
      addRepository(site, DiskFiles.RAW);
      if (linux.isPresent()) {
        addRepository(site, DiskFiles.QCOW2);
      }
    }
  }

  private static void addRepository(Site site, String format) throws Exception {
    try (Api api = new Api(site)) {
      api.call(
          "SR.create",
          Value.of(api.texts("host.get_all").getFirst()),
          Value.ofTexts(
              Map.of(
                  "location",
                  DiskFiles.repository(site, format).toString(),
                  "image-format",
                  format)),
          Value.of(0L),
          Value.of(format),
          Value.of(""),
          Value.of("file"),
          Value.of("user"),
          Value.of(false),
          Value.EMPTY_STRUCT);
    }
  }

  /** Makes the VM at the first site, halted, with disks in the SR of the format. */
  void addVm(String diskFormat, long... diskSizes) throws Exception {
    format = diskFormat;
    vm =
        Xe.local(lab.alpha())
            .run("vm-install", "template=Other install media", "new-name-label=busy");
    try (Api api = new Api(lab.alpha())) {
      String ref = api.text("VM.get_by_uuid", vm);
      for (int i = 0; i < diskSizes.length; i++) {
        addDisk(api, ref, i, diskSizes[i]);
      }
      api.create(
          "VIF",
          Map.of(
              "VM", Value.of(ref),
              "network", Value.of(api.texts("network.get_all").getFirst()),
              "device", Value.of("0"),
              "MAC", Value.of(""),
              "MTU", Value.of(1500L),
              "other_config", Value.EMPTY_STRUCT,
              "qos_algorithm_type", Value.of(""),
              "qos_algorithm_params", Value.EMPTY_STRUCT));
      describeLoad(api, ref);
    }
  }

  /** Ends the VM and destroys it with its snapshots and all disks, so that another can be made. */
  void removeVm() throws Exception {
    Site site = owner();
    try (Api api = new Api(site)) {
      String ref = api.text("VM.get_by_uuid", vm);
      api.call("VM.hard_shutdown", Value.of(ref));
      linux.ifPresent(LinuxWorkload::close);
      for (String snapshot : api.texts("VM.get_snapshots", ref)) {
        api.call("VM.destroy", Value.of(snapshot));
      }
      api.call("VM.destroy", Value.of(ref));
      for (String vdi : api.texts("VDI.get_all")) {
        api.call("VDI.destroy", Value.of(vdi));
      }
    }
    // What snapshots held is merged in the background.
    await()
        .atMost(PATIENCE)
        .untilAsserted(() -> assertThat(DiskFiles.all(site)).as(site.tailOfLog()).isEmpty());
    for (Site each : sites()) {
      assertNothingLeft(each);
    }
    Files.delete(lab.ledger());
  }

  private void addDisk(Api api, String vmRef, int device, long size) throws XenApiException {
    String vdi =
        api.create(
            "VDI",
            Map.of(
                "name_label", Value.of("disk"),
                "SR", Value.of(api.texts("SR.get_by_name_label", format).getFirst()),
                "virtual_size", Value.of(size),
                "type", Value.of("user"),
                "sharable", Value.of(false),
                "read_only", Value.of(false),
                "other_config", Value.EMPTY_STRUCT));
    api.create(
        "VBD",
        Map.of(
            "VM", Value.of(vmRef),
            "VDI", Value.of(vdi),
            "userdevice", Value.of(Integer.toString(device)),
            "bootable", Value.of(false),
            "mode", Value.of("RW"),
            "type", Value.of("Disk"),
            "empty", Value.of(false),
            "other_config", Value.EMPTY_STRUCT,
            "qos_algorithm_type", Value.of(""),
            "qos_algorithm_params", Value.EMPTY_STRUCT));
  }

  private void describeLoad(Api api, String ref) throws Exception {
    if (linux.isEmpty()) {
      api.text("VM.add_to_platform", ref, "xenferry:ledger", lab.ledger().toString());
      api.text("VM.add_to_platform", ref, "xenferry:workload-rate", "524288");
      // Less than any bandwidth that a test gives its move.
      api.text("VM.add_to_platform", ref, "xenferry:memory-dirty-rate", "131072");
      return;
    }
    api.text("VM.set_HVM_boot_policy", ref, "");
    for (var field : linux.get().boot(rate, span).entrySet()) {
      api.text("VM.set_" + field.getKey(), ref, field.getValue());
    }
    for (var key : linux.get().platform().entrySet()) {
      api.text("VM.add_to_platform", ref, key.getKey(), key.getValue());
    }
    Value memory = Value.of(LinuxWorkload.MEMORY);
    api.call("VM.set_memory_limits", Value.of(ref), memory, memory, memory, memory);
    linux.get().observe(lab, vm);
  }

  /** Of the Linux guest. */
  HeartbeatObserver observer() {
    return linux.orElseThrow().observer();
  }

  /** Starts the VM, and waits until it has written something. */
  void start() throws Exception {
    long before = Files.exists(lab.ledger()) ? Files.size(lab.ledger()) : 0;
    try (Api api = new Api(lab.alpha())) {
      api.call(
          "VM.start", Value.of(api.text("VM.get_by_uuid", vm)), Value.of(false), Value.of(false));
    }
    await()
        .atMost(PATIENCE)
        .until(() -> Files.exists(lab.ledger()) && Files.size(lab.ledger()) > before + WRITTEN);
  }

  /** Begins to move the VM by xe. */
  Xe.Running move(Site from, String... options) throws Exception {
    Site to = other(from);
    List<String> command =
        new ArrayList<>(
            List.of(
                "vm-migrate",
                "uuid=" + vm,
                "remote-master=" + to.hostAndPort(),
                "remote-username=root",
                "remote-password=" + to.rootPassword(),
                "live=true"));
    try (Api here = new Api(from);
        Api there = new Api(to)) {
      String sr = there.text("SR.get_uuid", there.texts("SR.get_by_name_label", format).getFirst());
      String network = there.text("network.get_uuid", there.texts("network.get_all").getFirst());
      String ref = here.text("VM.get_by_uuid", vm);
      for (String vbd : here.texts("VM.get_VBDs", ref)) {
        String vdi = here.text("VDI.get_uuid", here.text("VBD.get_VDI", vbd));
        command.add("vdi:" + vdi + "=" + sr);
      }
      for (String vif : here.texts("VM.get_VIFs", ref)) {
        command.add("vif:" + here.text("VIF.get_uuid", vif) + "=" + network);
      }
    }
    command.addAll(List.of(options));
    return Xe.local(from).start(command.toArray(String[]::new));
  }

  /** Waits until both ledgers have come to rest. */
  void awaitRest() {
    for (Site site : sites()) {
      try {
        await()
            .atMost(PATIENCE)
            .ignoreExceptions()
            .until(() ->
                MoveFigures.migrations(site).values().stream().allMatch(s -> s.endsWith(" ended")));
      } catch (org.awaitility.core.ConditionTimeoutException e) {
        throw new AssertionError(describe(), e);
      }
    }
  }

  /** What both sites say, for the message of a test that fails. */
  String describe() {
    StringBuilder text = new StringBuilder();
    for (Site site : sites()) {
      text.append("\n--- ").append(site.name()).append(": ");
      try (Rest rest = new Rest(site)) {
        text.append(rest.get("/v1/migrations").toPrettyString());
        text.append(GuestProcesses.describe(site.stateDirectory()));
      } catch (IOException | IllegalStateException e) {
        text.append(e);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
      text.append('\n').append(site.tailOfLog());
    }
    return text.toString();
  }

  /** HALTED, Running and so on, as the site has it; absent where it does not have the VM. */
  Optional<String> powerState(Site site) throws Exception {
    try (Api api = new Api(site)) {
      return Optional.of(api.text("VM.get_power_state", api.text("VM.get_by_uuid", vm)));
    } catch (XenApiException e) {
      if (e.code().equals("UUID_INVALID")) {
        return Optional.empty();
      }
      throw e;
    }
  }

  /** The one site that has the VM, which must run there. */
  Site owner() throws Exception {
    Map<String, Optional<String>> states = new TreeMap<>();
    for (Site site : sites()) {
      states.put(site.name(), powerState(site));
    }
    assertThat(states.values())
        .as("where the VM is: " + states)
        .containsExactlyInAnyOrder(Optional.of("Running"), Optional.empty());
    return states.getOrDefault(lab.alpha().name(), Optional.empty()).isPresent()
        ? lab.alpha()
        : lab.beta();
  }

  /** Both sites tell the same story of every migration that both know. */
  void assertAgreed() throws Exception {
    Map<String, String> alpha = MoveFigures.migrations(lab.alpha());
    Map<String, String> beta = MoveFigures.migrations(lab.beta());
    for (String id : alpha.keySet()) {
      String here = alpha.get(id);
      String there = beta.get(id);
      if (there != null) {
        assertThat(here.contains("GIVEN") || there.contains("GIVEN"))
            .as("migration " + id + ": " + here + ", " + there)
            .isEqualTo(here.contains("RUNNING") || there.contains("RUNNING"));
      }
    }
  }

  /** Pauses the VM, compares every acknowledged write with its disk, and lets it go on. */
  void assertNothingLost(Site owner) throws Exception {
    try (Api api = new Api(owner)) {
      String ref = api.text("VM.get_by_uuid", vm);
      // The move's own ends a moment after its row in the ledger.
      await()
          .atMost(PATIENCE)
          .untilAsserted(() ->
              assertThat(api.call("VM.get_current_operations", Value.of(ref)))
                  .as("operations on the VM")
                  .isEqualTo(Value.EMPTY_STRUCT));
      boolean running = api.text("VM.get_power_state", ref).equals("Running");
      if (running) {
        api.text("VM.pause", ref);
      }
      Verdict verdict = DiskFiles.verify(lab.ledger(), disks(owner, vm));
      if (running) {
        api.text("VM.unpause", ref);
      }
      assertThat(verdict.good()).as(verdict.toString()).isTrue();
      assertThat(verdict.acknowledged()).isPositive();
      if (linux.isPresent()) {
        assertThat(observer().anomalies()).isEmpty();
        assertThat(observer().errors()).as("failed writes").isZero();
      }
    }
  }

  /** The images of a VM's disks, in the order of their devices; the topmost ones. */
  List<Path> disks(Site site, String uuid) throws Exception {
    try (Api api = new Api(site)) {
      Map<Integer, Path> images = new TreeMap<>();
      for (String vbd : api.texts("VM.get_VBDs", api.text("VM.get_by_uuid", uuid))) {
        String vdi = api.text("VDI.get_uuid", api.text("VBD.get_VDI", vbd));
        images.put(
            Integer.parseInt(api.text("VBD.get_userdevice", vbd)), DiskFiles.image(site, vdi));
      }
      return List.copyOf(images.values());
    }
  }

  /** Waits until the guest writes again. */
  void assertWrites() throws IOException {
    long before = Files.size(lab.ledger());
    await().atMost(Duration.ofSeconds(60)).until(() -> Files.size(lab.ledger()) > before);
  }

  /** Waits until the Linux guest has written so many more records to its first disk. */
  void awaitWrites(long records) {
    long before = observer().acknowledged(0);
    await().atMost(PATIENCE).until(() -> observer().acknowledged(0) >= before + records);
  }

  /** A site that does not own the VM has no record, disk, image, target, account or guest of it. */
  void assertNothingLeft(Site site) throws Exception {
    assertThat(powerState(site)).as("record at " + site.name()).isEmpty();
    try (Api api = new Api(site)) {
      assertThat(api.texts("VDI.get_all")).as("disks at " + site.name()).isEmpty();
      assertThat(api.texts("VBD.get_all")).as("VBDs at " + site.name()).isEmpty();
    }
    assertThat(DiskFiles.all(site)).as("images at " + site.name()).isEmpty();
    // What watched over a guest ends by itself, a moment after the guest.
    await()
        .atMost(PATIENCE)
        .untilAsserted(() ->
            assertThat(GuestProcesses.commandLines(site)).as("guests at " + site.name()).isEmpty());
  }

  /** No disk that a migration has made for itself, and no snapshot. */
  private static void assertNothingOfMigrations(Site site) throws Exception {
    try (Api api = new Api(site)) {
      for (String vdi : api.texts("VDI.get_all")) {
        assertThat(api.call("VDI.get_sm_config", Value.of(vdi)).toString())
            .as("sm_config of a disk at " + site.name())
            .doesNotContain(VdiInfo.SM_CONFIG_MIGRATION);
      }
    }
  }

  /** What snapshots of a move have left is merged, and each layered disk has one image. */
  private static void awaitMerged(Site site) throws Exception {
    try (Api api = new Api(site)) {
      String sr = api.texts("SR.get_by_name_label", DiskFiles.QCOW2).getFirst();
      await()
          .atMost(PATIENCE)
          .untilAsserted(() ->
              assertThat(DiskFiles.layered(site))
                  .as("images at " + site.name() + site.tailOfLog())
                  .hasSameSizeAs(api.texts("SR.get_VDIs", sr)));
    }
  }

  /** All that must hold after a move, whichever way it went. */
  Site assertWell() throws Exception {
    awaitRest();
    Site owner = owner();
    assertAgreed();
    assertNothingLeft(other(owner));
    for (Site site : sites()) {
      Exports.assertNone(site);
    }
    assertNothingOfMigrations(owner);
    if (format.equals(DiskFiles.QCOW2)) {
      awaitMerged(owner);
    }
    assertNothingLost(owner);
    assertWrites();
    return owner;
  }

  @Override
  public void close() throws IOException {
    linux.ifPresent(LinuxWorkload::close);
    lab.close();
    try (Stream<Path> files = Files.walk(directory)) {
      for (Path file : (Iterable<Path>) files.sorted(Comparator.reverseOrder())::iterator) {
        Files.deleteIfExists(file);
      }
    }
  }
}
