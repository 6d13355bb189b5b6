package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.guest.DiskFiller;
import io.xenferry.guest.Verdict;
import io.xenferry.guest.Verifier;
import io.xenferry.guest.ledger.FillPattern;
import io.xenferry.model.Value;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;

/** Junk and slow clients on every port there is while a VM moves, which must not notice. */
@EnabledOnOs(OS.LINUX)
class HostileWorldTest {
  private static final Duration LONG = Duration.ofSeconds(60);
  private static final long SIZE = 8 << 20;
  private static final long SEED = 20_240_907;

  private static final String[] STARTS = {
    "",
    "G",
    "POST /cli HTTP/1.0\r\ncontent-length: 200\r\n\r\nvm-list",
    "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 400\r\n\r\n<methodCall>",
    "PUT /v1/incoming/00000000-0000-4000-8000-000000000000 HTTP/1.1\r\nHost: x\r\nContent-Length:"
        + " 9\r\n\r\n{",
    "POST /services/SM HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\n<",
    "\u0016\u0003\u0001\u0002", // the start of a TLS handshake
    "\u0043\u0081\u0000\u0000", // the start of an iSCSI login
  };

  @Test
  void aMoveNoticesNothing() throws Exception {
    try (TestServer here = impatient("127.0.0.31");
        TestServer there = impatient("127.0.0.32")) {
      TestServer.Calls source = here.calls();
      TestServer.Calls destination = there.calls();
      Path ledger = here.directory.resolve("ledger");
      String vm =
          source.vm(
              "mover",
              Map.of(
                  "xenferry:ledger",
                  ledger.toString(),
                  "xenferry:workload-rate",
                  "32768",
                  "xenferry:memory-dirty-rate",
                  "131072"));
      String uuid = source.text("VM.get_uuid", vm);
      String vdi = source.vdi(source.sr(here.directory.resolve("sr")), "disk", SIZE);
      DiskFiller.fill(
          StorageTest.image(here.directory.resolve("sr"), source.text("VDI.get_uuid", vdi)),
          0,
          new FillPattern(SIZE, 100, 3),
          ledger);
      source.vbd(vm, vdi, 0);
      source.call("VM.start", vm, false, false);
      String to = destination.sr(there.directory.resolve("sr"));
      Value token =
          destination.call(
              "host.migrate_receive",
              destination.only("host"),
              destination.only("network"),
              Map.of());
      String task =
          source.text(
              "Async.VM.migrate_send",
              vm,
              token,
              true,
              Map.of(vdi, to),
              Map.of(),
              Map.of("bandwidth", Integer.toString(2 << 20)));
      await()
          .atMost(LONG)
          .until(() ->
              here.server.coordinator().statuses().stream()
                  .anyMatch(s -> s.phase().equals("copying the disks")));

      List<InetSocketAddress> ports = listening();
      // TLS and plain HTTP of two servers, and the destination's iSCSI target.
      assertThat(ports).hasSizeGreaterThanOrEqualTo(5);
      assertThat(ports).extracting(InetSocketAddress::getPort).contains(there.server.port());
      List<Socket> slow = new ArrayList<>();
      try {
        for (InetSocketAddress port : ports) {
          for (String start : STARTS) {
            Socket s = connect(port);
            s.getOutputStream().write(start.getBytes(StandardCharsets.ISO_8859_1));
            slow.add(s);
          }
        }
        Random random = new Random(SEED);
        for (InetSocketAddress port : ports) {
          for (int i = 0; i < 25; i++) {
            throwJunk(port, random, i);
          }
        }
        await().atMost(LONG).until(() -> !source.text("task.get_status", task).equals("pending"));
        assertThat(source.call("task.get_error_info", task)).isEqualTo(TestServer.value(List.of()));
        for (Socket s : slow) {
          assertThat(endedByServer(s)).as("%s", s).isTrue();
        }
      } finally {
        for (Socket s : slow) {
          s.close();
        }
      }

      String moved = destination.text("VM.get_by_uuid", uuid);
      await()
          .atMost(LONG)
          .until(() -> destination.text("VM.get_power_state", moved).equals("Running"));
      long written = Files.size(ledger);
      await().atMost(LONG).until(() -> Files.size(ledger) > written);
      String vbd = TestServer.texts(destination.call("VM.get_VBDs", moved)).getFirst();
      Path image =
          StorageTest.image(
              there.directory.resolve("sr"),
              destination.text("VDI.get_uuid", destination.text("VBD.get_VDI", vbd)));
      destination.call("VM.hard_shutdown", moved);
      Verdict verdict = Verifier.verify(ledger, List.of(image));
      assertThat(verdict.examples()).isEmpty();
      assertThat(verdict.good()).isTrue();
    }
  }

  private static TestServer impatient(String address) throws Exception {
    return TestServer.startAt(
        address,
        c ->
            c.with(
                new io.xenferry.server.config.LimitsConfig(
                    300 * 1024, 200 * 1024, 500, Duration.ofSeconds(5), Duration.ofSeconds(5))));
  }

  /** Every TCP port that this process listens on, as the kernel tells it. */
  private static List<InetSocketAddress> listening() throws IOException {
    Set<String> ours = new HashSet<>();
    try (DirectoryStream<Path> files = Files.newDirectoryStream(Path.of("/proc/self/fd"))) {
      for (Path fd : files) {
        String target;
        try {
          target = Files.readSymbolicLink(fd).toString();
        } catch (IOException gone) {
          continue; // closed since the directory was read
        }
        if (target.startsWith("socket:[")) {
          ours.add(target.substring("socket:[".length(), target.length() - 1));
        }
      }
    }
    List<InetSocketAddress> ports = new ArrayList<>();
    for (String table : List.of("/proc/self/net/tcp", "/proc/self/net/tcp6")) {
      for (String line : Files.readAllLines(Path.of(table))) {
        String[] words = line.strip().split(" +");
        if (words.length > 9 && words[3].equals("0A") && ours.contains(words[9])) {
          String[] local = words[1].split(":");
          ports.add(new InetSocketAddress(address(local[0]), Integer.parseInt(local[1], 16)));
        }
      }
    }
    return ports;
  }

  /** The kernel prints words of four bytes in the machine's order, which is little-endian here. */
  private static InetAddress address(String hex) throws IOException {
    byte[] raw = HexFormat.of().parseHex(hex);
    for (int word = 0; word < raw.length; word += 4) {
      for (int i = 0; i < 2; i++) {
        byte b = raw[word + i];
        raw[word + i] = raw[word + 3 - i];
        raw[word + 3 - i] = b;
      }
    }
    InetAddress address = InetAddress.getByAddress(raw);
    return address.isAnyLocalAddress() ? InetAddress.getLoopbackAddress() : address;
  }

  private static Socket connect(InetSocketAddress port) throws IOException {
    Socket s = new Socket();
    s.connect(port, 20_000);
    return s;
  }

  private static void throwJunk(InetSocketAddress port, Random random, int kind) throws Exception {
    try (Socket s = connect(port)) {
      byte[] junk = new byte[random.nextInt(4000) + 1];
      random.nextBytes(junk);
      switch (kind % 5) {
        case 0 -> {}
        case 1 -> System.arraycopy(STARTS[7].getBytes(StandardCharsets.ISO_8859_1), 0, junk, 0, 1);
        case 2 -> junk = ("GET /" + "a".repeat(20_000) + " HTTP/1.1\r\n\r\n").getBytes();
        case 3 -> junk = "POST /cli HTTP/1.0\r\ncontent-length: 99999999\r\n\r\nx".getBytes();
        case 4 ->
            junk = ("PUT /v1/incoming/../../x HTTP/1.1\r\n" + "A: b\r\n".repeat(3000)).getBytes();
        default -> throw new IllegalStateException();
      }
      s.getOutputStream().write(junk);
      s.shutdownOutput();
      s.setSoTimeout(20_000);
      s.getInputStream().readNBytes(1 << 20);
    } catch (SocketTimeoutException e) {
      throw new AssertionError("seed " + SEED + ": " + port + " keeps a client that is done", e);
    } catch (IOException reset) {
      // As good an answer to junk as any.
      assertThat(reset).isNotNull();
    }
  }

  private static boolean endedByServer(Socket s) throws IOException {
    s.setSoTimeout((int) LONG.toMillis());
    try {
      InputStream in = s.getInputStream();
      in.readAllBytes();
      return true;
    } catch (SocketTimeoutException e) {
      return false;
    } catch (IOException reset) {
      return true;
    }
  }
}
