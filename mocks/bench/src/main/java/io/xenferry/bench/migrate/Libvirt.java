package io.xenferry.bench.migrate;

import io.xenferry.bench.command.Commands;
import io.xenferry.bench.migrate.Network.Side;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The peer that people have: {@code virsh migrate --live --copy-storage-all} between two daemons.
 */
final class Libvirt implements Contender {
  private static final String DOMAIN = "bench";
  private static final Pattern DOWNTIME =
      Pattern.compile("Total downtime:\\s+(\\d+(\\.\\d+)?)\\s+(ms|s)\\b");

  private final String name;
  private final boolean synchronous;
  private final LibvirtHost source;
  private final LibvirtHost destination;

  /**
   * @param synchronous whether the guest's writes wait for the destination
   */
  Libvirt(String name, boolean synchronous, LibvirtHost source, LibvirtHost destination) {
    this.name = name;
    this.synchronous = synchronous;
    this.source = source;
    this.destination = destination;
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public Guest start(GuestImage image, Rate rate, Trace trace)
      throws IOException, InterruptedException {
    Running running = new Running();
    try {
      running.start(image, rate, trace);
      return running;
    } catch (IOException | InterruptedException e) {
      running.close();
      throw e;
    }
  }

  private static String definition(GuestImage image, Rate rate) {
    return """
    <domain type='qemu'>
      <name>%s</name>
      <memory unit='MiB'>%d</memory>
      <vcpu>1</vcpu>
      <os>
        <type arch='x86_64' machine='q35'>hvm</type>
        <kernel>%s</kernel>
        <initrd>%s</initrd>
        <cmdline>%s</cmdline>
      </os>
      <features><acpi/></features>
      <cpu mode='custom' match='exact'><model fallback='allow'>qemu64</model></cpu>
      <on_crash>destroy</on_crash>
      <devices>
        <emulator>/usr/bin/qemu-system-x86_64</emulator>
        <disk type='file' device='disk'>
          <driver name='qemu' type='raw' cache='writeback' discard='unmap'/>
          <source file='%s/disk.raw'/>
          <target dev='vda' bus='virtio'/>
        </disk>
        <serial type='null'><target port='0'/></serial>
        <serial type='unix'>
          <source mode='bind' path='%s/console'/>
          <target port='1'/>
        </serial>
        <video><model type='vga'/></video>
        <controller type='usb' model='none'/>
        <memballoon model='virtio'/>
      </devices>
    </domain>
    """
        .formatted(
            DOMAIN,
            GuestImage.MEMORY_MIB,
            image.kernel(),
            image.initrd(),
            GuestImage.commandLine(rate),
            LibvirtHost.GUESTS,
            LibvirtHost.GUESTS);
  }

  private final class Running implements Guest {
    private final List<Console> consoles = new ArrayList<>();

    void start(GuestImage image, Rate rate, Trace trace) throws IOException, InterruptedException {
      image.copyTo(disk(source));
      image.createEmpty(disk(destination));
      for (LibvirtHost host : List.of(source, destination)) {
        Files.deleteIfExists(console(host));
        Side side = host == source ? Side.SOURCE : Side.DESTINATION;
        consoles.add(new Console(side, () -> Optional.of(console(host)), trace));
      }
      Path definition = source.guestDirectory().resolve("bench.xml");
      Files.writeString(definition, definition(image, rate));
      source.virsh(Commands.DEADLINE, "create", LibvirtHost.GUESTS.resolve("bench.xml").toString());
    }

    private static Path disk(LibvirtHost host) {
      return host.guestDirectory().resolve("disk.raw");
    }

    private static Path console(LibvirtHost host) {
      return host.guestDirectory().resolve("console");
    }

    @Override
    public Moved move(Duration limit) throws IOException, InterruptedException {
      List<String> command =
          new ArrayList<>(List.of("migrate", "--live", "--p2p", "--copy-storage-all"));
      if (synchronous) {
        command.add("--copy-storage-synchronous-writes");
      }
      command.addAll(
          List.of("--migrateuri", "tcp://" + destination.address(), DOMAIN, destination.uri()));
      try {
        source.virsh(limit, command.toArray(String[]::new));
      } catch (Commands.Overdue e) {
        source.virsh(Commands.DEADLINE, "domjobabort", DOMAIN);
        throw e;
      }
      // The source's domain is gone with its figures; the destination has them.
      String figures =
          destination.virsh(
              Commands.DEADLINE, "domjobinfo", DOMAIN, "--completed", "--keep-completed");
      return new Moved(downtime(figures), OptionalLong.empty(), "");
    }

    @Override
    public void askForVerdict() throws IOException {
      consoles.get(1).askForVerdict();
    }

    @Override
    public Path movedDisk() {
      return disk(destination);
    }

    @Override
    public void close() throws IOException, InterruptedException {
      for (Console console : consoles) {
        console.close();
      }
      for (LibvirtHost host : List.of(source, destination)) {
        if (!host.virsh(Commands.DEADLINE, "list", "--name").isBlank()) {
          host.virsh(Commands.DEADLINE, "destroy", DOMAIN);
        }
        Files.deleteIfExists(disk(host));
      }
    }
  }

  static OptionalDouble downtime(String jobInfo) {
    Matcher matcher = DOWNTIME.matcher(jobInfo);
    if (!matcher.find()) {
      return OptionalDouble.empty();
    }
    double value = Double.parseDouble(matcher.group(1));
    return OptionalDouble.of(matcher.group(3).equals("s") ? value * 1000 : value);
  }

  /** The hosts are shared by both kinds of peer, and closed by whoever made them. */
  @Override
  public void close() {}
}
