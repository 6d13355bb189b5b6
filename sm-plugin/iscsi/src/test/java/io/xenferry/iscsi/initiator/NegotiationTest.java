package io.xenferry.iscsi.initiator;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.block.BlockException;
import io.xenferry.block.BlockException.Kind;
import io.xenferry.block.MemoryBackend;
import io.xenferry.iscsi.IscsiUrl;
import io.xenferry.iscsi.embedded.EmbeddedTargetService;
import io.xenferry.iscsi.pdu.TextKeys;
import io.xenferry.iscsi.scsi.Cdb;
import io.xenferry.iscsi.scsi.Status;
import io.xenferry.iscsi.target.Acl;
import io.xenferry.iscsi.target.Export;
import io.xenferry.iscsi.target.FileExportJournal;
import java.net.InetAddress;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * What was agreed on is kept, whatever it is, and what a target refuses is tried again: seen on the
 * wire by a relay that changes what the two say.
 */
@Timeout(120)
class NegotiationTest {
  private static final int MIB = 1 << 20;

  /** What our initiator puts into one command. */
  private static final int COMMAND = 256 << 10;

  private static final int SCSI_COMMAND = 0x01;
  private static final int LOGIN_REQUEST = 0x03;
  private static final int DATA_OUT = 0x05;
  private static final int SCSI_RESPONSE = 0x21;
  private static final int LOGIN_RESPONSE = 0x23;
  private static final int R2T = 0x31;
  private static final int NO_TAG = -1;
  private static final Duration SOON = Duration.ofSeconds(30);

  @TempDir static Path directory;
  private static EmbeddedTargetService service;
  private static IscsiUrl url;

  @BeforeAll
  static void start() throws Exception {
    service =
        new EmbeddedTargetService(
            EmbeddedTargetService.Settings.at(directory, InetAddress.getByName("127.0.0.1")),
            new FileExportJournal(directory.resolve("journal")));
    url =
        service.open(
            new Export(
                "iqn.2026-01.io.xenferry:agreed",
                1,
                new Export.Backing.Device(new MemoryBackend("memory", 8 * MIB)),
                "agreed",
                "agreed",
                Optional.empty(),
                new Acl.Everybody(),
                true,
                false));
  }

  @AfterAll
  static void stop() {
    service.close();
  }

  private static IscsiUrl through(PduRelay relay) {
    return new IscsiUrl(Optional.empty(), "127.0.0.1", relay.port(), url.iqn(), url.lun());
  }

  /** Sums of what passed, and the largest of each kind. */
  private static final class Seen {
    private final AtomicInteger immediate = new AtomicInteger();
    private final AtomicInteger unasked = new AtomicInteger();
    private final AtomicInteger asked = new AtomicInteger();
    private final AtomicInteger questions = new AtomicInteger();
    private final AtomicInteger largest = new AtomicInteger();

    byte[] sent(byte[] pdu) {
      int length = PduRelay.dataLength(pdu);
      int operation = PduRelay.operation(pdu);
      if (operation == SCSI_COMMAND) {
        immediate.addAndGet(length);
      } else if (operation == DATA_OUT) {
        boolean solicited = ByteBuffer.wrap(pdu).getInt(20) != NO_TAG;
        (solicited ? asked : unasked).addAndGet(length);
      }
      if (operation == SCSI_COMMAND || operation == DATA_OUT) {
        largest.accumulateAndGet(length, Math::max);
      }
      return pdu;
    }

    byte[] answered(byte[] pdu) {
      if (PduRelay.operation(pdu) == R2T) {
        questions.incrementAndGet();
      }
      return pdu;
    }
  }

  @ParameterizedTest(name = "InitialR2T={0} ImmediateData={1} first {2} burst {3} segment {4}")
  @CsvSource({
    "No,  Yes, 262144, 1048576, 262144",
    "No,  Yes,  65536,  262144,   8192",
    "No,  No,   65536,  131072,  16384",
    "Yes, Yes,  65536,  262144,  65536",
    "Yes, No,  262144,   65536, 262144",
    "No,  Yes,    512,     512,    512",
    "Yes, No,     512,    4096,   1024",
    "No,  Yes,  16384,   16384, 262144",
  })
  void dataGoesAsWasAgreed(
      String initialR2t, String immediateData, int first, int burst, int segment) throws Exception {
    TextKeys ofInitiator =
        new TextKeys()
            .set("InitialR2T", initialR2t)
            .set("ImmediateData", immediateData)
            .set("FirstBurstLength", Integer.toString(first))
            .set("MaxBurstLength", Integer.toString(burst));
    TextKeys ofTarget = new TextKeys().set("MaxRecvDataSegmentLength", Integer.toString(segment));
    Seen seen = new Seen();
    byte[] content = new byte[2 * COMMAND];
    new Random(segment).nextBytes(content);
    try (PduRelay relay =
            new PduRelay(
                url.port(),
                pdu ->
                    PduRelay.operation(pdu) == LOGIN_REQUEST
                        ? PduRelay.withText(pdu, ofInitiator)
                        : seen.sent(pdu),
                pdu ->
                    PduRelay.operation(pdu) == LOGIN_RESPONSE
                        ? PduRelay.withText(pdu, ofTarget)
                        : seen.answered(pdu));
        IscsiDisk disk = IscsiInitiator.connect(through(relay), IscsiOptions.defaults())) {
      IscsiDisk.await(disk.write(MIB, ByteBuffer.wrap(content)), SOON);
      ByteBuffer back = ByteBuffer.allocate(content.length);
      IscsiDisk.await(disk.read(MIB, back), SOON);
      assertThat(back.array()).isEqualTo(content);
    }
    int unsolicited = Math.min(COMMAND, Math.min(first, burst));
    int immediate = immediateData.equals("Yes") ? Math.min(unsolicited, segment) : 0;
    int unasked = initialR2t.equals("Yes") ? 0 : unsolicited - immediate;
    int asked = COMMAND - immediate - unasked;
    assertThat(seen.immediate).as("immediate data").hasValue(2 * immediate);
    assertThat(seen.unasked).as("unsolicited data").hasValue(2 * unasked);
    assertThat(seen.asked).as("data after R2Ts").hasValue(2 * asked);
    assertThat(seen.questions).as("R2Ts").hasValue(2 * ((asked + burst - 1) / burst));
    assertThat(seen.largest.get()).isLessThanOrEqualTo(segment);
  }

  /** Answers to writes say something else; which they are is known by the tags of the commands. */
  private static final class Refusing {
    private final Set<Integer> writes = ConcurrentHashMap.newKeySet();
    private final AtomicInteger attempts = new AtomicInteger();
    private final AtomicInteger left;
    private final int status;

    Refusing(int times, int status) {
      left = new AtomicInteger(times);
      this.status = status;
    }

    byte[] sent(byte[] pdu) {
      if (PduRelay.operation(pdu) == SCSI_COMMAND && (pdu[32] & 0xFF) == Cdb.WRITE_16
          || PduRelay.operation(pdu) == SCSI_COMMAND && (pdu[32] & 0xFF) == Cdb.WRITE_10) {
        attempts.incrementAndGet();
        writes.add(ByteBuffer.wrap(pdu).getInt(16));
      }
      return pdu;
    }

    byte[] answered(byte[] pdu) {
      if (PduRelay.operation(pdu) == SCSI_RESPONSE
          && writes.contains(ByteBuffer.wrap(pdu).getInt(16))
          && left.getAndDecrement() > 0) {
        pdu[3] = (byte) status;
      }
      return pdu;
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {Status.BUSY, Status.TASK_SET_FULL})
  void whatTheTargetIsTooBusyForIsTriedAgainLater(int status) throws Exception {
    Refusing refusing = new Refusing(3, status);
    try (PduRelay relay = new PduRelay(url.port(), refusing::sent, refusing::answered);
        IscsiDisk disk = IscsiInitiator.connect(through(relay), IscsiOptions.defaults())) {
      IscsiDisk.await(disk.write(0, ByteBuffer.allocate(4096)), SOON);
      assertThat(refusing.attempts).hasValue(4);
    }
  }

  @Test
  void onlyForAsLongAsItHasPatience() throws Exception {
    Refusing refusing = new Refusing(Integer.MAX_VALUE, Status.BUSY);
    try (PduRelay relay = new PduRelay(url.port(), refusing::sent, refusing::answered);
        IscsiDisk disk =
            IscsiInitiator.connect(
                through(relay), IscsiOptions.defaults().withBusyPatience(Duration.ofMillis(100)))) {
      CompletableFuture<Void> write = disk.write(0, ByteBuffer.allocate(4096));
      assertThat(write)
          .failsWithin(SOON)
          .withThrowableThat()
          .havingRootCause()
          .isInstanceOfSatisfying(
              BlockException.class, e -> assertThat(e.kind()).isEqualTo(Kind.BUSY));
      assertThat(refusing.attempts.get()).isGreaterThan(1);
      IscsiDisk.await(disk.flush(), SOON);
      assertThat(disk.failureKind()).as("the disk lives").isEmpty();
    }
  }
}
