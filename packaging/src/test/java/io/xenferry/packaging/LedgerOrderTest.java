package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.packaging.SystemCalls.Call;
import io.xenferry.packaging.SystemCalls.Durable;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * What the kernel saw of a move: each decision was on stable storage before the effect that it
 * authorises began. What is sent to the peer is encrypted; that it was sent shows in what the peer
 * writes when it has received it.
 */
@Timeout(300)
class LedgerOrderTest {
  private static final String LEDGER = "ledger.db-wal";

  @TempDir Path traces;

  /** Follows a server, and the programs that it starts: they are started through another one. */
  private Process trace(Site site, Path trace) throws IOException {
    Path said = traces.resolve(site.name() + ".strace");
    Process strace =
        new ProcessBuilder(
                "strace",
                "-f",
                "-ttt",
                "-T",
                "-y",
                "-s",
                "4200",
                "-e",
                SystemCalls.TRACED,
                "-e",
                "signal=none",
                "-o",
                trace.toString(),
                "-p",
                Long.toString(site.pid()))
            .redirectErrorStream(true)
            .redirectOutput(said.toFile())
            .start();
    await()
        .atMost(Duration.ofSeconds(60))
        .until(() -> {
          assertThat(strace.isAlive()).as(Files.readString(said)).isTrue();
          return Files.readString(said).contains("attached");
        });
    return strace;
  }

  private static void end(Process strace) throws InterruptedException {
    strace.destroy();
    assertThat(strace.waitFor(60, TimeUnit.SECONDS)).as("strace ends").isTrue();
  }

  private static void requireStrace() {
    boolean present =
        Files.isExecutable(Path.of("/usr/bin/strace"))
            || Files.isExecutable(Path.of("/bin/strace"));
    if (!"true".equals(System.getenv("XENFERRY_REQUIRE_TOOLS"))) {
      Assumptions.assumeTrue(present, "strace is not installed");
    }
    assertThat(present).as("strace is installed").isTrue();
  }

  @Test
  @Tag("slow")
  void eachDecisionIsDurableBeforeItsEffect() throws Exception {
    requireStrace();
    try (Moves moves = new Moves("io.xenferry.server.ServerMain", "--target", "auto")) {
      moves.install(16L << 20);
      moves.start();
      Site source = moves.lab().alpha();
      Site destination = moves.lab().beta();
      Path here = traces.resolve("source");
      Path there = traces.resolve("destination");
      Process one = trace(source, here);
      Process two = trace(destination, there);
      Xe.Outcome outcome = moves.move(source).await();
      moves.awaitRest();
      end(one);
      end(two);
      assertThat(outcome.exit()).as(outcome.toString()).isZero();
      check(
          SystemCalls.read("source", here).and(SystemCalls.read("destination", there)), moves.vm());
      moves.assertWell();
    }
  }

  private static Durable state(SystemCalls trace, String site, String vm, String state) {
    return trace.durable(state, site, LEDGER, vm + state + "https://");
  }

  private static Optional<Call> at(SystemCalls trace, String site, Predicate<Call> wanted) {
    return trace.first(c -> c.site().equals(site) && wanted.test(c));
  }

  private static Predicate<Call> says(String text) {
    return call -> call.writes() && call.text().contains(text);
  }

  private static Predicate<Call> runs(String... words) {
    return call ->
        call.name().equals("execve") && List.of(words).stream().allMatch(call.text()::contains);
  }

  private static void check(SystemCalls trace, String vm) {
    Durable sending = state(trace, "source", vm, "SENDING");
    Durable receiving = state(trace, "destination", vm, "RECEIVING");
    Durable switching = state(trace, "source", vm, "SWITCHING");
    Durable ready = state(trace, "destination", vm, "READY");
    Durable committing = state(trace, "source", vm, "COMMITTING");
    Durable committed = state(trace, "destination", vm, "COMMITTED");
    Durable starting = state(trace, "destination", vm, "STARTING");
    Durable running = state(trace, "destination", vm, "RUNNING");
    Durable given = state(trace, "source", vm, "GIVEN");
    Durable objects =
        trace.durable("the disks' intent", "destination", LEDGER, "VDI[0-9a-f-]{36}[^\"]*OPEN");
    Durable exports =
        trace.durable("the exports' intent", "destination", LEDGER, "EXPORTxf-[0-9a-f-]+OPEN");
    Durable guest =
        trace.durable("the guest's intent", "destination", LEDGER, "GUEST" + vm + "OPEN");
    Durable closed = trace.durable("CLOSED", "destination", LEDGER, "EXPORTxf-[0-9a-f-]+CLOSED");

    sending.precedes("the destination heard of it", Optional.of(receiving.write()));
    Optional<Call> image =
        at(
            trace,
            "destination",
            c ->
                c.name().equals("openat")
                    && c.text().contains("/sr/")
                    && c.text().contains("O_CREAT"));
    receiving.precedes("the first file of a disk", image);
    objects.precedes("the first file of a disk", image);
    guest.precedes("the guest's process", at(trace, "destination", runs("SimulatedGuest")));
    Predicate<Call> closing = runs("tgtadm", "\"delete\"", "target");
    if (at(trace, "destination", runs("tgtadm")).isPresent()) {
      exports.precedes("the target", at(trace, "destination", runs("tgtadm", "\"new\"", "target")));
      closed.precedes("the end of the target", at(trace, "destination", closing));
    }
    switching.precedes("READY", Optional.of(ready.write()));
    closed.precedes("READY", Optional.of(ready.write()));
    ready.precedes("COMMITTING", Optional.of(committing.write()));
    committing.precedes("the commit's arrival", Optional.of(committed.write()));
    committed.precedes("STARTING", Optional.of(starting.write()));
    starting.precedes("cont", at(trace, "destination", says("\\\"cont\\\"")));
    running.precedes("GIVEN", Optional.of(given.write()));
    given.precedes(
        "the end of the source's guest",
        at(trace, "source", c -> c.name().equals("kill") && c.text().contains("SIGKILL")));
    given.precedes(
        "the removal of the source's disk",
        at(
            trace,
            "source",
            c ->
                c.name().startsWith("unlink")
                    && c.text().contains("/sr/")
                    && c.text().contains(".raw")));
  }
}
