package io.xenferry.server.metrics;

import io.xenferry.model.PIF;
import io.xenferry.model.Ref;
import io.xenferry.model.SR;
import io.xenferry.model.VDI;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.metrics.GuestProbe.Throughput;
import io.xenferry.spi.Guest;
import io.xenferry.spi.Hypervisor;
import io.xenferry.spi.HypervisorException;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Looks at every guest, the host and its SRs each time that the clock shows a multiple of {@value
 * Span#BASE} seconds, in one thread; guests are asked beside it, so that one that hangs costs its
 * own figures only.
 */
final class Sampler implements AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(Sampler.class);

  /** A monitor answers within milliseconds; a look waits for all guests this long. */
  private static final Duration QUESTION = Duration.ofSeconds(2);

  /** Between two writes of a file; the files are spread over the looks in between. */
  private static final int LOOKS_PER_SAVE = 60;

  /** Between two updates of records, each of which is an event for every client. */
  private static final int LOOKS_PER_RECORD = 6;

  private final Hypervisor hypervisor;
  private final ObjectDatabase database;
  private final Figures figures;
  private final LiveRecords records;
  private final Metrics.DiskUse disks;
  private final Clock clock;
  private final HostProbe host;
  private final Owner hostOwner;
  private final Map<UUID, GuestProbe> probes = new HashMap<>();
  private long looks;
  private volatile @Nullable Thread thread;
  private volatile @Nullable Thread noting;

  Sampler(
      Hypervisor hypervisor,
      ObjectDatabase database,
      Figures figures,
      LiveRecords records,
      Metrics.DiskUse disks,
      Clock clock,
      String hostUuid) {
    this.hypervisor = hypervisor;
    this.database = database;
    this.figures = figures;
    this.records = records;
    this.disks = disks;
    this.clock = clock;
    this.hostOwner = new Owner(Owner.Kind.HOST, hostUuid);
    this.host = new HostProbe(Path.of("/proc"), hostOwner, figures);
  }

  void start() {
    first();
    thread = Thread.ofVirtual().name("figures").start(this::run);
  }

  /** What can be told at once is there before anybody asks: clients stumble over no figures. */
  private void first() {
    long seconds = clock.millis() / 1000 / Span.BASE * Span.BASE;
    try {
      Snapshot db = database.snapshot();
      host.look(seconds, System.nanoTime(), interfaces(db));
      storage(db, seconds);
      figures.complete(seconds);
    } catch (XenApiException | RuntimeException e) {
      log.warn("the first figures are missing", e);
    }
  }

  private void run() {
    try {
      while (true) {
        long millis = clock.millis();
        long step = Span.BASE * 1000L;
        Thread.sleep(step - Math.floorMod(millis, step));
        // Not the time of waking: looks are a step apart, and have a row each.
        look((millis / step + 1) * Span.BASE);
      }
    } catch (InterruptedException e) {
      // Closed.
      Thread.currentThread().interrupt();
    }
  }

  /**
   * @param seconds since 1970
   */
  void look(long seconds) throws InterruptedException {
    try {
      guests(seconds);
      Snapshot db = database.snapshot();
      host.look(seconds, System.nanoTime(), interfaces(db));
      storage(db, seconds);
      figures.complete(seconds);
      looks++;
      if (looks % LOOKS_PER_RECORD == 2) {
        records.update(probes.values().stream().map(GuestProbe::owner).toList());
        noteDisks();
      }
      keep();
    } catch (HypervisorException | XenApiException | RuntimeException e) {
      // Whatever it is, the next look may do better; without figures everything else goes on.
      log.warn("figures of one look are missing", e);
    }
  }

  /** Beside the looking: storage may hang. */
  private void noteDisks() {
    Thread before = noting;
    if (before == null || !before.isAlive()) {
      List<UUID> vms = List.copyOf(probes.keySet());
      noting =
          Thread.ofVirtual()
              .name("use of disks")
              .start(() -> {
                try {
                  disks.note(vms);
                } catch (XenApiException | RuntimeException e) {
                  log.warn("what the disks of guests take up is not recorded", e);
                }
              });
    }
  }

  private void guests(long seconds) throws HypervisorException, InterruptedException {
    List<Guest> guests = hypervisor.guests();
    Set<UUID> there = new HashSet<>();
    CountDownLatch asked = new CountDownLatch(guests.size());
    for (Guest guest : guests) {
      there.add(guest.vm());
      GuestProbe probe = probes.get(guest.vm());
      if (probe == null || !probe.isOf(guest)) {
        probe = new GuestProbe(guest, figures, System::nanoTime, QUESTION);
        probes.put(guest.vm(), probe);
      }
      probe.ask(seconds, asked::countDown);
    }
    List<GuestProbe> gone =
        probes.entrySet().stream()
            .filter(e -> !there.contains(e.getKey()))
            .map(Map.Entry::getValue)
            .toList();
    probes.keySet().retainAll(there);
    figures.save(gone.stream().map(GuestProbe::owner).toList(), owner -> false);
    if (!asked.await(QUESTION.toMillis(), TimeUnit.MILLISECONDS)) {
      log.debug("{} guests have not told yet what they use", asked.getCount());
    }
  }

  private static Set<String> interfaces(Snapshot db) throws XenApiException {
    Set<String> names = new HashSet<>();
    for (Row pif : db.rows("PIF")) {
      names.add(db.get(new Ref<PIF>(pif.ref()), PIF.DEVICE));
    }
    return names;
  }

  private void storage(Snapshot db, long seconds) throws XenApiException {
    Map<Ref<SR>, Throughput> used = new HashMap<>();
    for (GuestProbe probe : probes.values()) {
      for (Map.Entry<UUID, Throughput> disk : probe.throughput().entrySet()) {
        Optional<Row> vdi = db.byUuid("VDI", disk.getKey().toString());
        if (vdi.isPresent()) {
          used.merge(
              db.get(new Ref<VDI>(vdi.get().ref()), VDI.SR),
              disk.getValue(),
              (a, b) -> new Throughput(a.read() + b.read(), a.written() + b.written()));
        }
      }
    }
    for (Row row : db.rows("SR")) {
      Ref<SR> sr = new Ref<>(row.ref());
      Owner owner = new Owner(Owner.Kind.SR, db.get(sr, SR.UUID));
      long size = db.get(sr, SR.PHYSICAL_SIZE);
      if (size > 0) {
        figures.add(owner, "size", seconds, size);
        figures.add(owner, "physical_utilisation", seconds, db.get(sr, SR.PHYSICAL_UTILISATION));
      }
      Throughput throughput = used.get(sr);
      if (throughput != null) {
        figures.add(owner, "read", seconds, throughput.read());
        figures.add(owner, "write", seconds, throughput.written());
      }
    }
  }

  /** Files, some at each look. */
  private void keep() {
    List<Owner> due = new ArrayList<>();
    for (Owner owner : figures.owners()) {
      if (Math.floorMod(owner.hashCode(), LOOKS_PER_SAVE) == looks % LOOKS_PER_SAVE) {
        due.add(owner);
      }
    }
    // The last answer of a guest that is gone may have come late.
    figures.save(due, owner -> owner.kind() != Owner.Kind.VM || isGuest(owner));
    if (looks % LOOKS_PER_SAVE == 1) {
      Snapshot db = database.snapshot();
      figures.purge(owner ->
          owner.equals(hostOwner) || db.byUuid(owner.kind().className(), owner.uuid()).isPresent());
    }
  }

  private boolean isGuest(Owner owner) {
    return probes.values().stream().anyMatch(probe -> probe.owner().equals(owner));
  }

  /** Ends the looking, and writes what there is. */
  @Override
  public void close() {
    Thread running = thread;
    if (running != null) {
      running.interrupt();
      try {
        running.join(QUESTION.multipliedBy(2));
        Thread last = noting;
        if (last != null) {
          last.join(QUESTION);
        }
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
      figures.save(figures.owners(), owner -> true);
    }
  }
}
