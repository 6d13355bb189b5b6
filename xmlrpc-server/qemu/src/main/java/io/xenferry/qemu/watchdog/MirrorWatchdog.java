package io.xenferry.qemu.watchdog;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.Reader;
import java.net.StandardProtocolFamily;
import java.net.URLDecoder;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReentrantLock;

/**
 * The main program {@code MONITOR MILLISECONDS}: while a guest's writes are mirrored through the
 * server, a server that is stopped or hangs would hold them up for ever. This process holds the
 * guest's second monitor, and when the server has been silent about a mirrored node for so long, it
 * breaks that node's connection with {@code yank}, out of band: QEMU answers that even while its
 * main loop waits for the write, which then fails at the mirror and succeeds at the source.
 *
 * <p>And while two images become one under a guest, there is a moment in which its writes wait for
 * the server to note which of them goes. When the server is gone for certain, at the end of stdin,
 * this process looks at what it has noted, and ends the job as that says: nobody else changes the
 * note before it has asked the guest. A server that is only stopped may still be about to note it;
 * the guest waits for it.
 *
 * <p>Lines on stdin: {@code + NODE} watch it, {@code . NODE} the relay of that node is alive,
 * {@code - NODE} watch it no longer; {@code = JOB FILE KEY VALUE}, all but the job URL-encoded: the
 * job is finished when the properties in the file have that value, else cancelled, and {@code -
 * JOB} forgets it. Lines on stdout: {@code ready}, {@code yanked NODE}, {@code finished JOB} or
 * {@code cancelled JOB}, and {@code alive} now and then. At the end of stdin whatever is still
 * watched is yanked. Ends then, or with the guest.
 */
public final class MirrorWatchdog {
  /** Looks per limit; one is late only when it is so twice in a row. */
  private static final int LOOKS = 8;

  private static final String NODE_NAME = "[A-Za-z0-9._-]{1,31}";
  private static final String JOB_NAME = "[A-Za-z0-9._-]{1,127}";

  /** QEMU forgets what it was told by somebody who has gone before it had its turn. */
  private static final long REPLY_SECONDS = 60;

  /** When each watched node was last heard of. */
  private final Map<String, Long> heard = new ConcurrentHashMap<>();

  /** By what each job that holds a guest's writes is ended. */
  private final Map<String, Decision> held = new ConcurrentHashMap<>();

  private final Map<String, CountDownLatch> asked = new ConcurrentHashMap<>();

  private final ReentrantLock sending = new ReentrantLock();
  private final SocketChannel monitor;
  private final PrintStream out;
  private final long limit;

  private MirrorWatchdog(SocketChannel monitor, PrintStream out, long limitNanos) {
    this.monitor = monitor;
    this.out = out;
    this.limit = limitNanos;
  }

  /** Where it stands that a job is to be finished. */
  private record Decision(Path file, String key, String value) {
    /** As it is on stable storage; what was renamed last by a server that died may not be yet. */
    boolean isMade() throws IOException {
      try (FileChannel directory =
          FileChannel.open(file.resolveSibling(""), StandardOpenOption.READ)) {
        directory.force(true);
      }
      Properties noted = new Properties();
      try (Reader text = Files.newBufferedReader(file)) {
        noted.load(text);
      }
      return value.equals(noted.getProperty(key));
    }
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
        if (line.startsWith("=")) {
          hold(node.split(" ", -1));
          continue;
        }
        if (line.startsWith("-") && held.remove(node) != null || !node.matches(NODE_NAME)) {
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
    held.forEach(this::end);
    Runtime.getRuntime().halt(0);
  }

  private void hold(String[] words) {
    if (words.length == 4 && words[0].matches(JOB_NAME)) {
      held.put(
          words[0], new Decision(Path.of(decoded(words[1])), decoded(words[2]), decoded(words[3])));
    }
  }

  private static String decoded(String word) {
    return URLDecoder.decode(word, StandardCharsets.UTF_8);
  }

  private void end(String job, Decision decision) {
    try {
      boolean finish = decision.isMade();
      CountDownLatch reply = new CountDownLatch(1);
      asked.put(job, reply);
      send(
          finish
              ? "{\"execute\":\"job-finalize\",\"id\":\"%1$s\",\"arguments\":{\"id\":\"%1$s\"}}"
                  .formatted(job)
              : "{\"execute\":\"block-job-cancel\",\"id\":\"%1$s\",\"arguments\":{\"device\":\"%1$s\",\"force\":true}}"
                  .formatted(job));
      if (!reply.await(REPLY_SECONDS, TimeUnit.SECONDS)) {
        System.err.println("no answer about " + job);
      }
      say((finish ? "finished " : "cancelled ") + job);
    } catch (IOException | IllegalArgumentException e) {
      // What is not known is left to the next server; the guest waits.
      System.err.println("cannot end " + job + ": " + e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** Replies and events are of little interest, but must be read; their end is the guest's. */
  private void readMonitor(BufferedReader replies) {
    try {
      for (String line = replies.readLine(); line != null; line = replies.readLine()) {
        if (line.contains("\"error\"") && line.contains("\"id\"")) {
          System.err.println(line);
        }
        for (Map.Entry<String, CountDownLatch> job : asked.entrySet()) {
          if (line.contains("\"id\": \"" + job.getKey() + "\"")
              && (line.contains("\"return\"") || line.contains("\"error\""))) {
            job.getValue().countDown();
          }
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
