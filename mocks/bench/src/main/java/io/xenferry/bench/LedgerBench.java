package io.xenferry.bench;

import io.xenferry.bench.measure.Disks;
import io.xenferry.bench.measure.Medians;
import io.xenferry.bench.measure.Rounds;
import io.xenferry.migration.ledger.JournalEntry;
import io.xenferry.migration.ledger.LedgerRow;
import io.xenferry.migration.ledger.SqliteLedger;
import io.xenferry.migration.state.MigrationId;
import io.xenferry.migration.state.SecureRandomness;
import io.xenferry.migration.state.State;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/**
 * What the ledgers add to the time that a guest stands still: the changes that both sides make
 * durable between its pause at the source and its first step at the destination, one after the
 * other, against the least that as many durable changes can cost, a block appended to a file and
 * its {@code fdatasync}.
 */
@Command(
    name = "ledger",
    description = "Makes the durable changes of a switch: the ledgers against bare fdatasync.",
    version = "XenFerry ${sys:xenferry.version:-of an unknown version}",
    mixinStandardHelpOptions = true)
final class LedgerBench implements Callable<Integer> {
  private static final int CANNOT_RUN = 3;

  /** A VM's metadata with three disks and as many interfaces, roughly; a row is written whole. */
  private static final int DOCUMENT = 12 << 10;

  private static final int PLAN = 2 << 10;
  private static final int BLOCK = 4096;

  @Mixin private final Rounds rounds = new Rounds(200, 50);

  @Option(
      names = "--directory",
      description =
          "Where the ledgers go: what is measured is its disk (default: the directory of temporary"
              + " files).")
  private Optional<Path> directory = Optional.empty();

  @Override
  public Integer call() throws Exception {
    if (!rounds.any()) {
      System.err.println("at least one round");
      return CANNOT_RUN;
    }
    Path base =
        directory.isPresent()
            ? Files.createTempDirectory(directory.get(), "xenferry-bench")
            : Files.createTempDirectory("xenferry-bench");
    try (Switch ours = new Switch(base);
        FileChannel bare =
            FileChannel.open(
                base.resolve("bare"), StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
      measure(ours, bare);
      return 0;
    } finally {
      Disks.deleteTree(base);
    }
  }

  private void measure(Switch ours, FileChannel bare) throws Exception {
    List<Rounds.Kind<Double>> kinds = List.of(ours::milliseconds, () -> append(bare));
    List<List<Double>> took = rounds.measure(kinds, (round, both) -> {});
    tell("ledgers", took.getFirst());
    tell("fdatasync", took.getLast());
    Medians.ratio("ledger", took.getLast(), took.getFirst());
  }

  private static void tell(String who, List<Double> milliseconds) {
    List<Double> sorted = milliseconds.stream().sorted().toList();
    System.out.printf(
        Locale.ROOT,
        "%s: %d durable changes while the guest stands still: median %.2f ms, p99 %.2f ms%n",
        who,
        Switch.CHANGES,
        Medians.of(milliseconds),
        sorted.get((int) Math.ceil(sorted.size() * 0.99) - 1));
  }

  private static double append(FileChannel file) throws IOException {
    ByteBuffer block = ByteBuffer.allocateDirect(BLOCK);
    long began = System.nanoTime();
    for (int i = 0; i < Switch.CHANGES; i++) {
      file.write(block.clear());
      file.force(false);
    }
    return (System.nanoTime() - began) / 1e6;
  }

  /** Both sides' ledgers. A migration of its own each time, which ends as migrations do. */
  private static final class Switch implements AutoCloseable {
    static final int CHANGES = 6;

    private final SqliteLedger source;
    private final SqliteLedger destination;

    Switch(Path base) throws IOException {
      source = open(Files.createDirectory(base.resolve("source")));
      destination = open(Files.createDirectory(base.resolve("destination")));
    }

    private static SqliteLedger open(Path directory) {
      return SqliteLedger.open(
          directory.resolve("ledger.db"),
          directory.resolve("ledger.mark"),
          "bench",
          new SecureRandomness(),
          Instant::now);
    }

    double milliseconds() {
      MigrationId id = new MigrationId(UUID.randomUUID());
      UUID vm = UUID.randomUUID();
      LedgerRow sending = source.insert(row(id, vm, State.SENDING));
      LedgerRow receiving = destination.insert(row(id, vm, State.RECEIVING));
      JournalEntry export =
          new JournalEntry(
              id, JournalEntry.Kind.EXPORT, "xf-" + id, vm.toString(), JournalEntry.Standing.OPEN);
      destination.intend(export);

      long paused = System.nanoTime();
      LedgerRow switching = source.update(sending, sending.withState(State.SWITCHING));
      destination.closeExports(id);
      LedgerRow ready = destination.update(receiving, receiving.withState(State.READY));
      LedgerRow committing = source.update(switching, switching.withState(State.COMMITTING));
      LedgerRow committed = destination.update(ready, ready.withState(State.COMMITTED));
      LedgerRow starting = destination.update(committed, committed.withState(State.STARTING));
      double took = (System.nanoTime() - paused) / 1e6;

      LedgerRow running = destination.update(starting, starting.withState(State.RUNNING));
      LedgerRow given = source.update(committing, committing.withState(State.GIVEN));
      destination.done(export);
      source.update(given, given.withSettled().withCleaned());
      destination.update(running, running.withSettled().withCleaned());
      source.purge(Instant.now());
      destination.purge(Instant.now());
      return took;
    }

    private static LedgerRow row(MigrationId id, UUID vm, State state) {
      Instant now = Instant.now();
      return new LedgerRow(
          id,
          state.role(),
          vm,
          state,
          "https://127.0.0.1:1",
          "0".repeat(64),
          UUID.randomUUID(),
          "0".repeat(64),
          "",
          " ".repeat(PLAN),
          " ".repeat(DOCUMENT),
          Optional.empty(),
          false,
          false,
          false,
          false,
          "boot",
          now,
          now,
          // Forgotten as soon as it has ended: a ledger does not grow for ever.
          now.minus(Duration.ofSeconds(1)),
          0);
    }

    @Override
    public void close() {
      try (source) {
        destination.close();
      }
    }
  }
}
