package io.xenferry.iscsi.initiator;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.ForwardingBackend;
import io.xenferry.block.LinkTimes;
import io.xenferry.block.MemoryBackend;
import io.xenferry.iscsi.IscsiUrl;
import io.xenferry.iscsi.embedded.EmbeddedTargetService;
import io.xenferry.iscsi.target.Acl;
import io.xenferry.iscsi.target.Export;
import io.xenferry.iscsi.target.FileExportJournal;
import java.net.InetAddress;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** What a disk's writes tell of what they wait for: its medium, or the way to it. */
@Timeout(60)
class WirePingTest {
  private static final int MIB = 1 << 20;
  private static final int NOP_OUT = 0x00;
  private static final int COMMAND = 0x01;
  private static final Duration SOON = Duration.ofSeconds(20);

  @TempDir Path directory;
  private final SlowDisk disk = new SlowDisk(new MemoryBackend("memory", 16 * MIB));
  private EmbeddedTargetService service;
  private IscsiUrl url;

  /** Whose writes can be held up. */
  private static final class SlowDisk extends ForwardingBackend {
    private volatile CompletableFuture<Void> open = CompletableFuture.completedFuture(null);

    SlowDisk(BlockBackend quick) {
      super(quick);
    }

    @Override
    public CompletableFuture<Void> write(long offset, ByteBuffer from) {
      return open.thenCompose(now -> super.write(offset, from));
    }
  }

  @BeforeEach
  void start() throws Exception {
    service =
        new EmbeddedTargetService(
            EmbeddedTargetService.Settings.at(directory, InetAddress.getByName("127.0.0.1")),
            new FileExportJournal(directory.resolve("journal")));
    url =
        service.open(
            new Export(
                "iqn.2026-01.io.xenferry:pinged",
                1,
                new Export.Backing.Device(disk),
                "pinged",
                "pinged",
                Optional.empty(),
                new Acl.Everybody(),
                true,
                false));
  }

  @AfterEach
  void stop() {
    disk.open.complete(null);
    service.close();
  }

  private IscsiUrl through(PduRelay relay) {
    return new IscsiUrl(Optional.empty(), "127.0.0.1", relay.port(), url.iqn(), url.lun());
  }

  /** A write of one command, and what it tells once the ping's answer is there too. */
  private static LinkTimes written(IscsiDisk disk) throws Exception {
    IscsiDisk.await(disk.write(0, ByteBuffer.allocateDirect(64 << 10)), SOON);
    await().atMost(SOON).until(() -> disk.linkTimes().sampled().isPositive());
    return disk.linkTimes();
  }

  private static Duration way(LinkTimes times) {
    return times.network().plus(times.processor());
  }

  @Test
  void aSlowDiskBehindAQuickLink() throws Exception {
    disk.open = new CompletableFuture<>();
    try (IscsiDisk there = IscsiInitiator.connect(url, IscsiOptions.defaults())) {
      long began = System.nanoTime();
      CompletableFuture<Void> write = there.write(0, ByteBuffer.allocateDirect(64 << 10));
      // Answered behind the ping, whatever holds up the write; it took longer than the way.
      IscsiDisk.await(there.read(MIB, ByteBuffer.allocateDirect(512)), SOON);
      long way = System.nanoTime() - began;
      CompletableFuture.delayedExecutor(3 * way, TimeUnit.NANOSECONDS)
          .execute(() -> disk.open.complete(null));
      IscsiDisk.await(write, SOON);
      await().atMost(SOON).until(() -> there.linkTimes().sampled().isPositive());
      LinkTimes times = there.linkTimes();

      assertThat(way(times).multipliedBy(2)).isLessThan(times.sampled());
      assertThat(way(times)).isPositive();
      assertThat(times.encryption()).isZero();
    }
  }

  /** Data takes long to get there; so does what follows it. */
  @Test
  void aSlowLinkToAQuickDisk() throws Exception {
    try (PduRelay relay =
            new PduRelay(
                url.port(),
                pdu -> {
                  if (PduRelay.operation(pdu) == COMMAND && PduRelay.dataLength(pdu) > 0) {
                    LockSupport.parkNanos(Duration.ofMillis(300).toNanos());
                  }
                  return pdu;
                },
                pdu -> pdu);
        IscsiDisk there = IscsiInitiator.connect(through(relay), IscsiOptions.defaults())) {
      LinkTimes times = written(there);

      assertThat(times.network().multipliedBy(2)).isGreaterThan(times.sampled());
    }
  }

  /** Nothing is known of its way then, and nothing else is amiss. */
  @Test
  void aTargetThatAnswersNoPings() throws Exception {
    AtomicInteger pings = new AtomicInteger();
    try (PduRelay relay =
            new PduRelay(
                url.port(),
                pdu -> {
                  boolean ping = PduRelay.operation(pdu) == NOP_OUT;
                  pings.addAndGet(ping ? 1 : 0);
                  return ping ? new byte[0] : pdu;
                },
                pdu -> pdu);
        IscsiDisk there = IscsiInitiator.connect(through(relay), IscsiOptions.defaults())) {
      // Several times as long as it is between pings that are answered.
      long end = System.nanoTime() + Duration.ofMillis(300).toNanos();
      while (System.nanoTime() < end) {
        IscsiDisk.await(there.write(0, ByteBuffer.allocateDirect(64 << 10)), SOON);
      }
      await().atMost(SOON).until(() -> pings.get() == 1);
      assertThat(there.linkTimes()).isEqualTo(LinkTimes.NONE);
    }
  }
}
