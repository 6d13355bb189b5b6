package io.xenferry.bench.migrate;

import io.xenferry.bench.command.Commands;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;

/**
 * Two hosts' worth of network: two namespaces joined by a pair of virtual Ethernet devices, whose
 * counters say what went over. Each namespace is held by a process that ends with this one, and
 * goes with the last process in it.
 */
final class Network implements AutoCloseable {

  /** Which of the two hosts. */
  enum Side {
    SOURCE,
    DESTINATION;

    String word() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  private static final String PREFIX = "10.231.";

  private final List<Process> holders;
  private final int subnet;

  private Network(List<Process> holders, int subnet) {
    this.holders = holders;
    this.subnet = subnet;
  }

  static Network create() throws IOException, InterruptedException {
    Network network =
        new Network(List.of(hold(), hold()), (int) (ProcessHandle.current().pid() % 254) + 1);
    try {
      network.connect();
      return network;
    } catch (IOException | InterruptedException e) {
      network.close();
      throw e;
    }
  }

  /** Ends at the end of its input, hence with this process, however that ends. */
  private static Process hold() throws IOException {
    return new ProcessBuilder("unshare", "--net", "cat")
        .redirectOutput(ProcessBuilder.Redirect.DISCARD)
        .redirectError(ProcessBuilder.Redirect.INHERIT)
        .start();
  }

  private void connect() throws IOException, InterruptedException {
    for (Side side : Side.values()) {
      awaitNamespace(side);
    }
    Commands.run(
        List.of(
            "ip",
            "link",
            "add",
            "name",
            device(Side.SOURCE),
            "netns",
            pid(Side.SOURCE),
            "type",
            "veth",
            "peer",
            "name",
            device(Side.DESTINATION),
            "netns",
            pid(Side.DESTINATION)));
    for (Side side : Side.values()) {
      run(side, "ip", "address", "add", address(side) + "/24", "dev", device(side));
      run(side, "ip", "link", "set", device(side), "up");
      run(side, "ip", "link", "set", "lo", "up");
    }
  }

  /** The process that was started becomes unshare, then leaves our namespace, then becomes cat. */
  private void awaitNamespace(Side side) throws IOException, InterruptedException {
    Path ours = Files.readSymbolicLink(Path.of("/proc/self/ns/net"));
    Process holder = holders.get(side.ordinal());
    long end = System.nanoTime() + Commands.DEADLINE.toNanos();
    while (true) {
      if (!holder.isAlive()) {
        throw new IOException("no network namespace: unshare ended with " + holder.exitValue());
      }
      if (!Files.readSymbolicLink(Path.of("/proc", pid(side), "ns/net")).equals(ours)) {
        return;
      }
      if (System.nanoTime() > end) {
        throw new IOException("no network namespace after " + Commands.DEADLINE.toSeconds() + " s");
      }
      Thread.sleep(5);
    }
  }

  private void run(Side side, String... command) throws IOException, InterruptedException {
    Commands.run(in(side, List.of(command)));
  }

  private String pid(Side side) {
    return Long.toString(holders.get(side.ordinal()).pid());
  }

  private static String device(Side side) {
    return "xfb-" + side.word().substring(0, 3);
  }

  String address(Side side) {
    return PREFIX + subnet + "." + (side.ordinal() + 1);
  }

  /** The command to run a command on a side; it becomes that command, with the same pid. */
  List<String> in(Side side, List<String> command) {
    return Commands.concat(List.of("nsenter", "--target", pid(side), "--net"), command);
  }

  /** Bytes that left this side so far, with all headers. */
  long sent(Side side) throws IOException {
    for (String line : Files.readAllLines(Path.of("/proc", pid(side), "net/dev"))) {
      String[] words = line.strip().split("[:\\s]+", -1);
      if (words[0].equals(device(side))) {
        return Long.parseLong(words[9]);
      }
    }
    throw new IOException(device(side) + " is not there");
  }

  @Override
  public void close() {
    holders.forEach(Process::destroy);
  }
}
