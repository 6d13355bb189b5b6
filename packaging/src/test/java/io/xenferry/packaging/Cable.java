package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.packaging.Laboratory.Place;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Assumptions;

/**
 * Two networks of this machine, each with one host, and a router between them that swallows what
 * goes one way, or either, without a word to anybody. The test itself is on a third side of the
 * router, and reaches both all the time.
 */
final class Cable implements AutoCloseable {
  /** Which datagrams are swallowed, seen from a move from the first host to the second. */
  enum Cut {
    TO_DESTINATION,
    TO_SOURCE,
    BOTH_WAYS
  }

  private final String name = "xf" + ProcessHandle.current().pid();
  private final String net = "198.18." + ProcessHandle.current().pid() % 250 + ".";
  private final String router = name + "w";

  private Cable() {}

  /** Lays it; where the kernel does not allow that the test is skipped, or fails. */
  static Cable lay() throws IOException, InterruptedException {
    Cable cable = new Cable();
    String refused = cable.make();
    if (!refused.isEmpty()) {
      cable.close();
    }
    if (!"true".equals(System.getenv("XENFERRY_REQUIRE_TOOLS"))) {
      Assumptions.assumeTrue(refused.isEmpty(), "no networks may be made here: " + refused);
    }
    assertThat(refused).as("making networks").isEmpty();
    return cable;
  }

  private String space(Character host) {
    return name + host;
  }

  /** What stands against it; nothing when it is laid. */
  private String make() throws IOException, InterruptedException {
    List<String> commands =
        new ArrayList<>(
            List.of(
                "netns add " + router,
                "netns add " + space('a'),
                "netns add " + space('b'),
                "link add " + name + " type veth peer name test netns " + router,
                "address add " + net + "1/30 dev " + name,
                "link set " + name + " up",
                "-n " + router + " address add " + net + "2/30 dev test",
                "-n " + router + " link set test up"));
    commands.addAll(host('a', 4));
    commands.addAll(host('b', 8));
    commands.add("route add " + net + "0/28 via " + net + "2");
    for (String command : commands) {
      String refused = ip(command);
      if (!refused.isEmpty()) {
        return "ip " + command + ": " + refused;
      }
    }
    return run(
        List.of(
            "nsenter",
            "--net=/run/netns/" + router,
            "sh",
            "-c",
            "echo 1 > /proc/sys/net/ipv4/ip_forward"));
  }

  private List<String> host(char host, int first) {
    String there = "-n " + space(host) + " ";
    return List.of(
        "-n " + router + " link add to-" + host + " type veth peer name eth netns " + space(host),
        "-n " + router + " address add " + net + (first + 1) + "/30 dev to-" + host,
        "-n " + router + " link set to-" + host + " up",
        there + "link set lo up",
        there + "address add " + net + (first + 2) + "/30 dev eth",
        there + "link set eth up",
        there + "route add default via " + net + (first + 1));
  }

  private Place place(char host, int last) {
    return new Place(net + last, List.of("nsenter", "--net=/run/netns/" + space(host)));
  }

  Place alpha() {
    return place('a', 6);
  }

  Place beta() {
    return place('b', 10);
  }

  /**
   * Swallows datagrams until it is mended.
   *
   * @param source address of the host that the VM leaves
   */
  void cut(Cut cut, String source) throws IOException, InterruptedException {
    String destination = source.equals(net + 6) ? net + 10 : net + 6;
    if (cut != Cut.TO_SOURCE) {
      swallow("add", source, destination);
    }
    if (cut != Cut.TO_DESTINATION) {
      swallow("add", destination, source);
    }
  }

  /** Everything passes again. */
  void mend() throws IOException, InterruptedException {
    for (int i = 0; i < 2; i++) {
      ip("-n " + router + " rule delete pref 10");
    }
  }

  private void swallow(String verb, String from, String to)
      throws IOException, InterruptedException {
    assertThat(
            ip("-n %s rule %s pref 10 from %s to %s blackhole".formatted(router, verb, from, to)))
        .isEmpty();
  }

  private static String ip(String arguments) throws IOException, InterruptedException {
    List<String> command = new ArrayList<>(List.of("ip"));
    command.addAll(List.of(arguments.split(" ", -1)));
    return run(command);
  }

  private static String run(List<String> command) throws IOException, InterruptedException {
    Process process;
    try {
      process = new ProcessBuilder(command).redirectErrorStream(true).start();
    } catch (IOException e) {
      return e.getMessage();
    }
    String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    return process.waitFor() == 0 ? "" : said.strip() + " (it failed)";
  }

  /** The links go with the spaces in which they are. */
  @Override
  public void close() throws IOException {
    try {
      for (String space : List.of(router, space('a'), space('b'))) {
        ip("netns delete " + space);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
