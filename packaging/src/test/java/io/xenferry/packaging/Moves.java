package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import com.fasterxml.jackson.databind.JsonNode;
import io.xenferry.guest.Verdict;
import io.xenferry.guest.Verifier;
import io.xenferry.guest.linux.HeartbeatObserver;
import io.xenferry.guest.linux.LinuxGuest;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.qemu.QemuProvider;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
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
  private static final Duration PATIENCE = Duration.ofSeconds(90);

  private static final long WRITTEN = 16_384;

  private final Path directory;
  private final Laboratory lab;
  private final Optional<LinuxWorkload> linux;
  private String vm = "";

  /**
   * With the simulated guest.
   *
   * @param program the main class of both servers
   */
  Moves(String program, String... serverOptions) throws IOException {
    this(Optional.empty(), program, List.of(serverOptions));
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
    Optional<String> missing = LinuxGuest.missing();
    if (QemuProvider.program().isEmpty()) {
      missing = Optional.of("qemu-system-x86_64");
    }
    if ("true".equals(System.getenv("XENFERRY_REQUIRE_TOOLS"))) {
      assertThat(missing).as("what the Linux guest needs").isEmpty();
    }
    Assumptions.assumeTrue(missing.isEmpty(), "the Linux guest needs " + missing.orElse(""));
    LinuxWorkload workload = LinuxWorkload.prepare();
    List<String> options = new ArrayList<>(workload.serverOptions());
    options.addAll(List.of(serverOptions));
    return new Moves(Optional.of(workload), program, options);
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

  /** Starts both servers, makes their SRs, and a VM with disks. */
  void install(long... diskSizes) throws Exception {
    lab.start();
    for (Site site : sites()) {
      try (Api api = new Api(site)) {
        api.call(
            "SR.create",
            Value.of(api.texts("host.get_all").getFirst()),
            Value.ofTexts(Map.of("location", site.directory().resolve("sr").toString())),
            Value.of(0L),
            Value.of("local"),
            Value.of(""),
            Value.of("file"),
            Value.of("user"),
            Value.of(false),
            Value.EMPTY_STRUCT);
      }
    }
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

  private static void addDisk(Api api, String vmRef, int device, long size) throws XenApiException {
    String vdi =
        api.create(
            "VDI",
            Map.of(
                "name_label", Value.of("disk"),
                "SR", Value.of(api.text("SR.get_by_uuid", sr(api))),
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
      return;
    }
    api.text("VM.set_HVM_boot_policy", ref, "");
    for (var field : linux.get().boot(524_288, 16 << 20).entrySet()) {
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
    try (Api api = new Api(lab.alpha())) {
      api.call(
          "VM.start", Value.of(api.text("VM.get_by_uuid", vm)), Value.of(false), Value.of(false));
    }
    await()
        .atMost(PATIENCE)
        .until(() -> Files.exists(lab.ledger()) && Files.size(lab.ledger()) > WRITTEN);
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
      String sr = sr(there);
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

  private static String sr(Api site) throws XenApiException {
    for (String sr : site.texts("SR.get_all")) {
      if (site.text("SR.get_type", sr).equals("file")) {
        return site.text("SR.get_uuid", sr);
      }
    }
    throw new AssertionError("no SR");
  }

  /** Waits until the move from the site is where its phase, or its state, is so called. */
  void awaitPhase(Site from, String phase) {
    try (Rest rest = new Rest(from)) {
      await()
          .atMost(PATIENCE)
          .until(() -> {
            for (JsonNode status : rest.get("/v1/migrations")) {
              if (!status.path("ended").asBoolean()
                  && (status.path("phase").asText().contains(phase)
                      || status.path("state").asText().equals(phase))) {
                return true;
              }
            }
            return false;
          });
    }
  }

  /** Waits until every disk that the site sends is mirrored. */
  void awaitMirrored(Site from) {
    try (Rest rest = new Rest(from)) {
      await()
          .atMost(PATIENCE)
          .pollInterval(Duration.ofMillis(20))
          .until(() -> {
            JsonNode disks = rest.get("/v1/migrations").path(0).path("disks");
            boolean all = !disks.isEmpty();
            for (JsonNode disk : disks) {
              all &= disk.path("strategy").asText().equals("mirror");
            }
            return all;
          });
    }
  }

  /** Waits until some of the disks has been sent, by the first move that the site makes. */
  void awaitSent(Site from) {
    try (Rest rest = new Rest(from)) {
      await()
          .atMost(PATIENCE)
          .until(() -> {
            long sent = 0;
            for (JsonNode disk : rest.get("/v1/migrations").path(0).path("disks")) {
              sent += disk.path("sent").asLong();
            }
            return sent > 0;
          });
    }
  }

  /** The images of an SR. */
  static List<Path> images(Site site) throws IOException {
    return entries(site.directory().resolve("sr"), ".raw");
  }

  /** The migrations of a site by their ids: role, state, and whether it has ended. */
  private static Map<String, String> migrations(Site site)
      throws IOException, InterruptedException {
    Map<String, String> all = new TreeMap<>();
    try (Rest rest = new Rest(site)) {
      for (JsonNode status : rest.get("/v1/migrations")) {
        all.put(
            status.path("migration").asText(),
            status.path("role").asText()
                + " "
                + status.path("state").asText()
                + (status.path("ended").asBoolean() ? " ended" : ""));
      }
    }
    return all;
  }

  /** Waits until both ledgers have come to rest. */
  void awaitRest() {
    for (Site site : sites()) {
      try {
        await()
            .atMost(PATIENCE)
            .ignoreExceptions()
            .until(() -> migrations(site).values().stream().allMatch(s -> s.endsWith(" ended")));
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
    Map<String, String> alpha = migrations(lab.alpha());
    Map<String, String> beta = migrations(lab.beta());
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
      boolean running = api.text("VM.get_power_state", ref).equals("Running");
      if (running) {
        api.text("VM.pause", ref);
      }
      List<Path> images = new ArrayList<>();
      for (String vbd : api.texts("VM.get_VBDs", ref)) {
        images.add(lab.image(owner, api.text("VDI.get_uuid", api.text("VBD.get_VDI", vbd))));
      }
      Verdict verdict = Verifier.verify(lab.ledger(), images);
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

  /** Waits until the guest writes again. */
  void assertWrites() throws IOException {
    long before = Files.size(lab.ledger());
    await().atMost(Duration.ofSeconds(60)).until(() -> Files.size(lab.ledger()) > before);
  }

  /** A site that does not own the VM has no record, disk, image, target, account or guest of it. */
  void assertNothingLeft(Site site) throws Exception {
    assertThat(powerState(site)).as("record at " + site.name()).isEmpty();
    try (Api api = new Api(site)) {
      assertThat(api.texts("VDI.get_all")).as("disks at " + site.name()).isEmpty();
      assertThat(api.texts("VBD.get_all")).as("VBDs at " + site.name()).isEmpty();
    }
    assertThat(entries(site.directory().resolve("sr"), ".raw"))
        .as("images at " + site.name())
        .isEmpty();
    // What watched over a guest ends by itself, a moment after the guest.
    await()
        .atMost(PATIENCE)
        .untilAsserted(() -> assertThat(guests(site)).as("guests at " + site.name()).isEmpty());
  }

  /** Whoever owns the VM: no export is left after a move, and no dirty log. */
  void assertNoExports(Site site) throws Exception {
    Path state = site.stateDirectory();
    assertThat(entries(state.resolve("exports"), "")).as("exports of " + site.name()).isEmpty();
    assertThat(entries(state.resolve("nbds"), "")).as("exports of " + site.name()).isEmpty();
    assertThat(entries(state.resolve("dirty"), "")).as("dirty logs of " + site.name()).isEmpty();
    Path note = state.resolve("tgtd").resolve("tgtd.properties");
    if (Files.exists(note)) {
      String control = properties(note).getProperty("control");
      assertThat(tgtadm(control, "target")).as("targets of " + site.name()).isEmpty();
      assertThat(tgtadm(control, "account").replace("Account list:", "").strip())
          .as("accounts of " + site.name())
          .isEmpty();
    }
  }

  private static String tgtadm(String control, String mode) throws Exception {
    Process tgtadm =
        new ProcessBuilder(
                "tgtadm", "-C", control, "--lld", "iscsi", "--mode", mode, "--op", "show")
            .redirectErrorStream(true)
            .start();
    String out = new String(tgtadm.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(tgtadm.waitFor()).as(out).isZero();
    return out.strip();
  }

  static Properties properties(Path file) throws IOException {
    Properties properties = new Properties();
    try (var in = Files.newInputStream(file)) {
      properties.load(in);
    }
    return properties;
  }

  private static List<Path> entries(Path directory, String suffix) throws IOException {
    if (!Files.isDirectory(directory)) {
      return List.of();
    }
    try (Stream<Path> files = Files.list(directory)) {
      return files.filter(file -> file.toString().endsWith(suffix)).toList();
    }
  }

  /** Command lines of the living guests of a site. */
  static List<String> guests(Site site) throws IOException {
    String directory = site.stateDirectory().resolve("guests").toString();
    List<String> found = new ArrayList<>();
    try (Stream<Path> processes = Files.list(Path.of("/proc"))) {
      for (Path process : processes.filter(p -> p.resolve("cmdline").toFile().exists()).toList()) {
        if (process.getFileName().toString().matches("[0-9]+")) {
          String command = commandLine(process);
          if (command.contains(directory)) {
            found.add(process.getFileName() + " " + command.replace('\0', ' '));
          }
        }
      }
    }
    return found;
  }

  private static String commandLine(Path process) throws IOException {
    try {
      return Files.readString(process.resolve("cmdline"), StandardCharsets.ISO_8859_1);
    } catch (NoSuchFileException e) {
      return "";
    } catch (IOException e) {
      // ESRCH: it ended while it was read.
      if (Files.exists(process)) {
        throw e;
      }
      return "";
    }
  }

  /** All that must hold after a move, whichever way it went. */
  Site assertWell() throws Exception {
    awaitRest();
    Site owner = owner();
    assertAgreed();
    assertNothingLeft(other(owner));
    for (Site site : sites()) {
      assertNoExports(site);
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
