package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.guest.Verdict;
import io.xenferry.guest.Verifier;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/** Several SRs of one site, between which the only disk of a VM moves, and what must hold then. */
final class HostDisks {
  private static final Duration PATIENCE = Duration.ofSeconds(90);

  private final Site site;
  private final Moves moves;
  private final List<Path> directories = new ArrayList<>();

  /** With the SR that the moves' VM has its disk on. */
  HostDisks(Site site, Moves moves) {
    this.site = site;
    this.moves = moves;
    directories.add(site.directory().resolve("sr"));
  }

  /** Makes one more SR. */
  void add(String name, String format) throws Exception {
    Path directory = site.directory().resolve(name);
    directories.add(directory);
    try (Api api = new Api(site)) {
      api.call(
          "SR.create",
          Value.of(api.texts("host.get_all").getFirst()),
          Value.ofTexts(Map.of("location", directory.toString(), "image-format", format)),
          Value.of(0L),
          Value.of(name),
          Value.of(""),
          Value.of("file"),
          Value.of("user"),
          Value.of(false),
          Value.EMPTY_STRUCT);
    }
  }

  /** The uuid of the SR in that directory. */
  private String sr(Api api, String name) throws XenApiException {
    String location = site.directory().resolve(name).toString();
    for (String pbd : api.texts("PBD.get_all")) {
      if (api.call("PBD.get_device_config", Value.of(pbd)) instanceof Value.Struct config
          && Value.of(location).equals(config.members().get("location"))) {
        return api.text("SR.get_uuid", api.text("PBD.get_SR", pbd));
      }
    }
    throw new AssertionError("no SR at " + location);
  }

  private String disk(Api api) throws XenApiException {
    String vbd = api.texts("VM.get_VBDs", api.text("VM.get_by_uuid", moves.vm())).getFirst();
    return api.text("VDI.get_uuid", api.text("VBD.get_VDI", vbd));
  }

  /** Begins to move the disk by xe. */
  Xe.Running move(String to, String... options) throws Exception {
    List<String> command = new ArrayList<>(List.of("vdi-pool-migrate"));
    try (Api api = new Api(site)) {
      command.add("uuid=" + disk(api));
      command.add("sr-uuid=" + sr(api, to));
    }
    command.addAll(List.of(options));
    return Xe.local(site).start(command.toArray(String[]::new));
  }

  /** What the notes about moves say that have not ended. */
  String notes() throws IOException {
    Path notes = site.stateDirectory().resolve("moves");
    StringBuilder text = new StringBuilder();
    if (Files.isDirectory(notes)) {
      try (Stream<Path> files = Files.list(notes)) {
        for (Path file : files.filter(f -> f.toString().endsWith(".move")).toList()) {
          try {
            text.append(Files.readString(file));
          } catch (IOException e) {
            // It has just ended.
            continue;
          }
        }
      }
    }
    return text.toString();
  }

  private List<Path> images() throws IOException {
    List<Path> images = new ArrayList<>();
    for (Path directory : directories) {
      try (Stream<Path> files = Files.list(directory)) {
        files
            .filter(f -> f.toString().endsWith(".raw") || f.toString().endsWith(".qcow2"))
            .forEach(images::add);
      }
    }
    return images;
  }

  /** The VM runs on its only disk, which has every write; no other image is left. */
  Path assertWell() throws Exception {
    await()
        .atMost(PATIENCE)
        .untilAsserted(() -> assertThat(moves.powerState(site)).contains("Running"));
    assertThat(notes()).isEmpty();
    List<Path> images = images();
    assertThat(images).hasSize(1);
    try (Api api = new Api(site)) {
      assertThat(images.getFirst().getFileName().toString()).startsWith(disk(api));
      assertThat(api.texts("VDI.get_all")).hasSize(1);
      String vm = api.text("VM.get_by_uuid", moves.vm());
      api.text("VM.pause", vm);
      Verdict verdict = Verifier.verify(moves.lab().ledger(), List.of(raw(images.getFirst())));
      api.text("VM.unpause", vm);
      assertThat(verdict.good()).as(verdict.toString()).isTrue();
      assertThat(verdict.acknowledged()).isPositive();
    }
    moves.assertWrites();
    return images.getFirst();
  }

  /** The content of an image, whose guest stands still and has flushed it. */
  private Path raw(Path image) throws Exception {
    if (image.toString().endsWith(".raw")) {
      return image;
    }
    Path copy = site.directory().resolve("content.raw");
    Process convert =
        new ProcessBuilder(
                "qemu-img",
                "convert",
                "-U",
                "-f",
                "qcow2",
                "-O",
                "raw",
                image.toString(),
                copy.toString())
            .redirectErrorStream(true)
            .start();
    String words = new String(convert.getInputStream().readAllBytes());
    assertThat(convert.waitFor()).as(words).isZero();
    return copy;
  }
}
