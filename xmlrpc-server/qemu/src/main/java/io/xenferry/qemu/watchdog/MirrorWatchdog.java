package io.xenferry.qemu.watchdog;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.locks.ReentrantLock;

/**
 * The main program {@code MONITOR MILLISECONDS}: while a guest's writes are mirrored through the
 * server, a server that is stopped or hangs would hold them up for ever. This process holds the
 * guest's second monitor, and when the server has been silent about a mirrored node for so long, it
 * breaks that node's connection with {@code yank}, out of band: QEMU answers that even while its
 * main loop waits for the write, which then fails at the mirror and succeeds at the source.
 *
 * <p>Lines on stdin: {@code + NODE} watch it, {@code . NODE} the relay of that node is alive,
 * {@code - NODE} watch it no longer. Lines on stdout: {@code ready}, {@code yanked NODE}, and
 * {@code alive} now and then. At the end of stdin whatever is still watched is yanked. Ends then,
 * or with the guest.
 */
public final class MirrorWatchdog {
  /** Looks per limit; one is late only when it is so twice in a row. */
  private static final int LOOKS = 8;

  private static final String NODE_NAME = "[A-Za-z0-9._-]{1,31}";

  /** When each watched node was last heard of. */
  private final Map<String, Long> heard = new ConcurrentHashMap<>();

  private final ReentrantLock sending = new ReentrantLock();
  private final SocketChannel monitor;
  private final PrintStream out;
  private final long limit;

  private MirrorWatchdog(SocketChannel monitor, PrintStream out, long limitNanos) {
    this.monitor = monitor;
    this.out = out;
    this.limit = limitNanos;
  }

  /** See the class. Exit status 1 when the monitor cannot be had. */
  public static void main(String[] arguments) throws InterruptedException {
    if (arguments.length != 2) {
      System.err.println("MONITOR MILLISECONDS");
      Runtime.getRuntime().halt(2);
    }
    try {
      SocketChannel monitor = SocketChannel.open(StandardProtocolFamily.UNIX);
      monitor.connect(UnixDomainSocketAddress.of(arguments[0]));
      new MirrorWatchdog(monitor, System.out, Long.parseLong(arguments[1]) * 1_000_000).run();
    } catch (IOException | IllegalArgumentException e) {
      System.err.println("no watchdog: " + e);
      Runtime.getRuntime().halt(1);
    }
  }

  private void run() throws IOException, InterruptedException {
    BufferedReader replies =
        new BufferedReader(
            new InputStreamReader(Channels.newInputStream(monitor), StandardCharsets.UTF_8));
    String greeting = replies.readLine();
    if (greeting == null || !greeting.contains("\"oob\"")) {
      throw new IOException("the monitor takes no commands out of band: " + greeting);
    }
    send("{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]}}");
    String agreed = replies.readLine();
    if (agreed == null || !agreed.contains("\"return\"")) {
      throw new IOException("the monitor refuses: " + agreed);
    }
    Thread.ofPlatform().daemon().start(() -> readMonitor(replies));
    Thread.ofPlatform().daemon().start(this::readServer);
    say("ready");
    watch();
  }

  private void watch() throws InterruptedException {
    Map<String, Long> late = new ConcurrentHashMap<>();
    for (int look = 0; ; look++) {
      Thread.sleep(Math.max(1, limit / LOOKS / 1_000_000));
      long now = System.nanoTime();
      for (Map.Entry<String, Long> node : heard.entrySet()) {
        if (now - node.getValue() < limit) {
          late.remove(node.getKey());
        } else if (node.getValue().equals(late.put(node.getKey(), node.getValue()))) {
          // Twice: this process may itself have been held up, with news on its stdin unread.
          cutOff(node.getKey());
        }
      }
      if (look % (LOOKS / 2) == 0) {
        say("alive");
      }
    }
  }

  private void readServer() {
    try (BufferedReader lines =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        String node = line.length() > 2 ? line.substring(2) : "";
        if (!node.matches(NODE_NAME)) {
          continue;
        }
        switch (line.charAt(0)) {
          case '+' -> heard.put(node, System.nanoTime());
          case '.' -> heard.computeIfPresent(node, (name, before) -> System.nanoTime());
          case '-' -> heard.remove(node);
          default -> {}
        }
      }
    } catch (IOException e) {
      System.err.println("the server is gone: " + e);
    }
    heard.keySet().forEach(this::cutOff);
    Runtime.getRuntime().halt(0);
  }

  /** Replies and events are of no interest, but must be read; their end is the guest's. */
  private static void readMonitor(BufferedReader replies) {
    try {
      for (String line = replies.readLine(); line != null; line = replies.readLine()) {
        if (line.contains("\"error\"") && line.contains("\"id\"")) {
          System.err.println(line);
        }
      }
    } catch (IOException e) {
      System.err.println("the guest is gone: " + e);
    }
    Runtime.getRuntime().halt(0);
  }

  private void cutOff(String node) {
    if (heard.remove(node) == null) {
      return;
    }
    try {
      send(
          "{\"exec-oob\":\"yank\",\"id\":\""
              + node
              + "\",\"arguments\":{\"instances\":[{\"type\":\"block-node\",\"node-name\":\""
              + node
              + "\"}]}}");
      say("yanked " + node);
    } catch (IOException e) {
      System.err.println("cannot yank " + node + ": " + e);
    }
  }

  private void send(String line) throws IOException {
    ByteBuffer bytes = ByteBuffer.wrap((line + "\n").getBytes(StandardCharsets.UTF_8));
    sending.lock();
    try {
      while (bytes.hasRemaining()) {
        monitor.write(bytes);
      }
    } finally {
      sending.unlock();
    }
  }

  private void say(String line) {
    out.print(line + "\n");
    out.flush();
  }
}
