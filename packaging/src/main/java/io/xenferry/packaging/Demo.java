package io.xenferry.packaging;

import com.fasterxml.jackson.databind.JsonNode;
import io.xenferry.guest.Verdict;
import io.xenferry.guest.Verifier;
import io.xenferry.guest.ledger.LedgerReader;
import io.xenferry.guest.linux.HeartbeatObserver;
import java.io.IOException;
import java.io.PrintStream;
import java.io.RandomAccessFile;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicReference;

/** The demo's story, told while it happens. */
final class Demo {
  private static final long MIB = 1 << 20;

  /** Lets the guest write for a while before and between the moves. */
  private static final long WRITE_ALONE_MILLIS = 1500;

  /** Bytes of each disk that Linux writes to; the rest keeps its fill. */
  private static final long WRITTEN_SPAN = 128 << 20;

  /** It takes 5 s on an idle machine. */
  private static final Duration BOOT_DEADLINE = Duration.ofMinutes(3);

  private final Laboratory lab;
  private final PrintStream out;
  private final List<DiskSize> sizes;
  private final long rate;
  private final String transport;
  private final boolean corrupt;
  private final Optional<LinuxWorkload> linux;
  private final Display display;

  /**
   * @param bytes of the disk
   * @param percent of it that is allocated beforehand
   */
  record DiskSize(long bytes, int percent) {}

  /**
   * @param linux what the VM runs; the simulated guest without
   */
  Demo(
      Laboratory lab,
      PrintStream out,
      List<DiskSize> sizes,
      long rate,
      String transport,
      boolean corrupt,
      Optional<LinuxWorkload> linux) {
    this.lab = lab;
    this.linux = linux;
    this.out = out;
    this.sizes = sizes;
    this.rate = rate;
    this.transport = transport;
    this.corrupt = corrupt;
    this.display = new Display(out, System.console() != null);
  }

  /** The exit status. */
  int run() throws IOException, InterruptedException {
    out.println("Starting two servers, each with its own database, ledger, certificate and SR…");
    lab.start();
    for (Site site : List.of(lab.alpha(), lab.beta())) {
      Xe.local(site)
          .run(
              "sr-create",
              "name-label=local storage",
              "type=file",
              "device-config:location=" + site.directory().resolve("sr"));
      out.printf("  %-5s https://%s%n", site.name(), site.hostAndPort());
    }
    Laboratory.Vm vm = install();
    Thread.sleep(WRITE_ALONE_MILLIS);
    int status = move(lab.alpha(), lab.beta(), vm, corrupt);
    if (status != 0 || corrupt) {
      return status;
    }
    out.println();
    out.println("And back again:");
    Thread.sleep(WRITE_ALONE_MILLIS);
    return move(lab.beta(), lab.alpha(), lab.find(lab.beta(), vm.uuid(), sizes.size()), false);
  }

  private Laboratory.Vm install() throws IOException, InterruptedException {
    Xe xe = Xe.local(lab.alpha());
    String sr = xe.run("sr-list", "--minimal");
    String vm = xe.run("vm-install", "template=Other install media", "new-name-label=busy");
    List<String> vdis = new ArrayList<>();
    for (int i = 0; i < sizes.size(); i++) {
      String vdi =
          xe.run(
              "vdi-create",
              "sr-uuid=" + sr,
              "name-label=disk " + i,
              "virtual-size=" + sizes.get(i).bytes());
      xe.run("vbd-create", "vm-uuid=" + vm, "vdi-uuid=" + vdi, "device=" + i);
      vdis.add(vdi);
      fill(i, vdi);
    }
    String network = xe.run("network-list", "--minimal");
    String vif =
        xe.run("vif-create", "vm-uuid=" + vm, "network-uuid=" + network, "device=0", "mac=random");
    if (linux.isPresent()) {
      describeLinux(xe, vm, linux.get());
    } else {
      xe.run(
          "vm-param-set",
          "uuid=" + vm,
          "platform:xenferry:ledger=" + lab.ledger(),
          "platform:xenferry:workload-rate=" + rate);
    }
    xe.run("vm-start", "uuid=" + vm);
    if (linux.isPresent()) {
      awaitBoot(linux.get().observe(lab, vm));
    }
    out.printf(
        "VM \"busy\" runs on %s, and writes %s a second to its %d disks%n",
        lab.alpha().name(), bytes(rate), sizes.size());
    return new Laboratory.Vm(vm, vdis, vif);
  }

  private void describeLinux(Xe xe, String vm, LinuxWorkload workload)
      throws IOException, InterruptedException {
    List<String> arguments = new ArrayList<>(List.of("vm-param-set", "uuid=" + vm));
    arguments.add("HVM-boot-policy=");
    workload
        .boot(rate, WRITTEN_SPAN)
        .forEach((field, value) -> arguments.add(field.replace('_', '-') + "=" + value));
    workload.platform().forEach((key, value) -> arguments.add("platform:" + key + "=" + value));
    xe.run(arguments.toArray(String[]::new));
    out.println("Linux boots in QEMU, with the writer as its only program…");
  }

  /** Until every disk has records. */
  private void awaitBoot(HeartbeatObserver observer) throws IOException, InterruptedException {
    long end = System.nanoTime() + BOOT_DEADLINE.toNanos();
    for (int disk = 0; disk < sizes.size(); disk++) {
      while (observer.acknowledged(disk) == 0) {
        if (System.nanoTime() - end > 0) {
          throw new IOException("the guest has not written within " + BOOT_DEADLINE);
        }
        Thread.sleep(50);
      }
    }
  }

  private void fill(int disk, String vdi) throws IOException, InterruptedException {
    DiskSize size = sizes.get(disk);
    Process filler =
        new ProcessBuilder(
                concat(
                    Jvm.command(List.of(), "io.xenferry.guest.DiskFiller"),
                    "--file",
                    lab.image(lab.alpha(), vdi).toString(),
                    "--size",
                    Long.toString(size.bytes()),
                    "--percent",
                    Integer.toString(size.percent()),
                    "--seed",
                    Integer.toString(disk + 1),
                    "--disk",
                    Integer.toString(disk),
                    "--ledger",
                    lab.ledger().toString()))
            .inheritIO()
            .start();
    if (filler.waitFor() != 0) {
      throw new IOException("disk " + disk + " could not be filled");
    }
  }

  private static List<String> concat(List<String> command, String... arguments) {
    List<String> all = new ArrayList<>(command);
    all.addAll(List.of(arguments));
    return all;
  }

  /** One move by {@code xe}, with the display, the check and the table. */
  private int move(Site from, Site to, Laboratory.Vm vm, boolean flip)
      throws IOException, InterruptedException {
    Xe there = Xe.local(to);
    String sr = there.run("sr-list", "--minimal");
    String network = there.run("network-list", "--minimal");
    List<String> arguments =
        new ArrayList<>(
            List.of(
                "vm-migrate",
                "uuid=" + vm.uuid(),
                "remote-master=" + to.hostAndPort(),
                "remote-username=root",
                "remote-password=" + to.rootPassword(),
                "live=true"));
    vm.vdis().forEach(vdi -> arguments.add("vdi:" + vdi + "=" + sr));
    arguments.add("vif:" + vm.vif() + "=" + network);
    arguments.add("transport=" + transport);
    out.println();
    out.printf(
        "xe -s %s -p %d -u root -pw … \\%n     vm-migrate uuid=%s \\%n     remote-master=%s"
            + " remote-username=root remote-password=… \\%n     vdi:…=… vif:…=… live=true"
            + " transport=%s%n",
        from.address(), from.port(), vm.uuid(), to.hostAndPort(), transport);
    out.println();
    long start = System.nanoTime();
    AtomicReference<JsonNode> last = new AtomicReference<>();
    Xe.Outcome outcome;
    try (Rest rest = new Rest(from)) {
      rest.follow(
          "/v1/migrations/events",
          status -> {
            if (status.path("role").asText().equals("source")
                && status.path("vm").asText().equals(vm.uuid())
                && !(last.get() == null && status.path("ended").asBoolean())) {
              JsonNode before = last.getAndSet(status);
              if (before == null || !before.path("ended").asBoolean()) {
                display.show(status);
              }
            }
          });
      outcome = Xe.overTls(from).start(arguments.toArray(String[]::new)).await();
      awaitEnd(rest, last);
    }
    long end = System.nanoTime();
    display.done();
    if (outcome.exit() != 0) {
      out.println(outcome.err() + outcome.out());
      return 1;
    }
    JsonNode status = last.get();
    if (status == null) {
      throw new IOException("the move was not seen in the event stream");
    }
    return check(from, to, vm, status, start, end, flip);
  }

  /** xe returns at the commit; what is left at the source is being removed for a moment longer. */
  private static void awaitEnd(Rest rest, AtomicReference<JsonNode> last)
      throws IOException, InterruptedException {
    for (int i = 0; i < 300; i++) {
      JsonNode status = last.get();
      if (status != null) {
        JsonNode now = rest.get("/v1/migrations/" + status.path("migration").asText());
        last.set(now);
        if (now.path("ended").asBoolean()) {
          return;
        }
      }
      Thread.sleep(50);
    }
  }

  /**
   * @param start of the move, by the monotonic clock
   * @param end likewise
   */
  private int check(
      Site from, Site to, Laboratory.Vm vm, JsonNode status, long start, long end, boolean flip)
      throws IOException, InterruptedException {
    Xe xe = Xe.local(to);
    Thread.sleep(WRITE_ALONE_MILLIS);
    xe.run("vm-pause", "uuid=" + vm.uuid());
    Laboratory.Vm moved = lab.find(to, vm.uuid(), sizes.size());
    List<Path> images = moved.vdis().stream().map(vdi -> lab.image(to, vdi)).toList();
    if (flip) {
      flipBytes(images.getFirst());
    }
    if (linux.isPresent()) {
      linux.get().observer().sync();
    }
    Verdict verdict = Verifier.verify(lab.ledger(), images);
    xe.run("vm-unpause", "uuid=" + vm.uuid());
    out.println();
    new ClosingTable(out)
        .print(
            status,
            (end - start) / 1e9,
            LedgerReader.longestGap(lab.ledger(), start, end),
            verdict);
    out.printf("The VM runs on %s; %s has nothing of it any more.%n", to.name(), from.name());
    out.println("lost writes: " + (verdict.lostBlocks() + verdict.corruptBlocks()));
    List<String> anomalies = linux.map(l -> l.observer().anomalies()).orElse(List.of());
    anomalies.forEach(out::println);
    return verdict.good() && anomalies.isEmpty() ? 0 : 1;
  }

  /** Behind everybody's back: nothing in the product knows of it. */
  private void flipBytes(Path image) throws IOException {
    try (RandomAccessFile file = new RandomAccessFile(image.toFile(), "rw")) {
      byte[] block = new byte[4096];
      for (long at = 0; at < file.length(); at += MIB) {
        file.seek(at);
        file.readFully(block);
        if (block[100] != 0 || block[200] != 0 || block[300] != 0) {
          block[100] ^= 0x55;
          file.seek(at);
          file.write(block);
          out.printf("Flipped a byte at %d of %s%n", at + 100, image.getFileName());
          return;
        }
      }
    }
    throw new IOException("found no data to corrupt");
  }

  static String bytes(double value) {
    String[] units = {"B", "KiB", "MiB", "GiB", "TiB"};
    int unit = 0;
    while (value >= 1024 && unit < units.length - 1) {
      value /= 1024;
      unit++;
    }
    return String.format(Locale.ROOT, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
  }
}
