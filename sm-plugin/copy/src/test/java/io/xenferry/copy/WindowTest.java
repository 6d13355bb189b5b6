package io.xenferry.copy;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import java.util.Comparator;
import java.util.PriorityQueue;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** What is found by measuring, on paths whose figures are known and whose time is simulated. */
class WindowTest {
  private static final int BLOCK = 64 << 10;
  private static final int LARGEST = 512 << 10;
  private static final double MB_PER_SECOND = 1e6 / 1e9;

  private final Window window = new Window(64, BLOCK, LARGEST);
  private final Path path = new Path();

  /** One after another through the narrowest place, and some time for the way there and back. */
  private static final class Path {
    double bytesPerNano = 100 * MB_PER_SECOND;
    long roundTrip;
    long perRequest;
    private long free;

    private Random random;

    long done(long now, int bytes) {
      double share = 1;
      long way = roundTrip;
      long pause = 0;
      if (random != null) {
        share = 0.5 + random.nextDouble();
        way += random.nextInt(2_000_000);
        pause = random.nextInt(200) == 0 ? 20_000_000 : 0;
      }
      free = Math.max(now, free) + perRequest + (long) (share * bytes / bytesPerNano) + pause;
      return free + way;
    }

    void chance(long seed) {
      random = new Random(seed);
    }

    Path mb(double perSecond) {
      bytesPerNano = perSecond * MB_PER_SECOND;
      return this;
    }

    Path roundTrip(long millis) {
      roundTrip = Duration.ofMillis(millis).toNanos();
      return this;
    }
  }

  private record Transfer(long issued, long done, int bytes) {}

  private final PriorityQueue<Transfer> underWay =
      new PriorityQueue<>(Comparator.comparingLong(Transfer::done));
  private long now;

  /** What came of the second half of a time. */
  private record Found(double mbPerSecond, double millis) {}

  private Found send(double seconds) {
    long middle = now + (long) (seconds / 2 * 1e9);
    long end = now + (long) (seconds * 1e9);
    long bytes = 0;
    long latency = 0;
    int count = 0;
    while (true) {
      while (underWay.size() < window.depth()) {
        int size = window.requestSize();
        underWay.add(new Transfer(now, path.done(now, size), size));
      }
      Transfer next = underWay.remove();
      now = next.done;
      if (now > end) {
        break;
      }
      window.arrived(next.issued, now, next.bytes, next.bytes);
      if (now > middle) {
        bytes += next.bytes;
        latency += now - next.issued;
        count++;
      }
    }
    return new Found(bytes / (seconds / 2) / 1e6, latency / 1e6 / Math.max(1, count));
  }

  @Test
  void fillsAFastNetworkNearbyInAMomentWithLittleInItsQueue() {
    path.mb(1200);
    path.roundTrip = 200_000;

    Found found = send(0.2);

    assertThat(found.mbPerSecond).isGreaterThan(1150);
    assertThat(send(20).millis).isLessThan(20);
  }

  @Test
  void fillsALongLink() {
    path.mb(125).roundTrip(50);

    Found found = send(4);

    assertThat(found.mbPerSecond).isGreaterThan(119);
    assertThat(found.millis).isLessThan(85);
  }

  @Test
  void fillsALinkThatIsLongAndFast() {
    path.mb(312).roundTrip(100); // 31 MB are on the way

    assertThat(send(6).mbPerSecond).isGreaterThan(295);
  }

  @Test
  void ofASlowDiskItQueuesLittleAndInSmallRequests() {
    path.mb(10).roundTrip(1);

    Found found = send(60);

    assertThat(found.mbPerSecond).isGreaterThan(9.8);
    assertThat(found.millis).isLessThan(60);
    assertThat(window.requestSize()).isEqualTo(BLOCK);
  }

  @Test
  void requestsStayLargeWhereEachOfThemCosts() {
    path.mb(100);
    path.perRequest = Duration.ofMillis(10).toNanos();

    Found found = send(60);

    assertThat(window.requestSize()).isEqualTo(LARGEST);
    assertThat(found.mbPerSecond).isGreaterThan(0.95 * 524.288 / (10 + 5.24288));
  }

  @Test
  void backsOffWhereADiskBecomesSlowAndComesBack() {
    path.mb(1000);
    assertThat(send(2).mbPerSecond).isGreaterThan(950);

    path.mb(5);
    Found slow = send(40);
    assertThat(slow.mbPerSecond).isGreaterThan(4.9);
    assertThat(slow.millis).isLessThan(120);

    path.mb(1000);
    assertThat(send(4).mbPerSecond).isGreaterThan(950);
  }

  /** What takes longer is not always a queue. */
  @Test
  void findsThatTheWayHasBecomeLonger() {
    path.mb(125).roundTrip(10);
    assertThat(send(2).mbPerSecond).isGreaterThan(119);

    path.roundTrip(80);

    assertThat(send(20).mbPerSecond).isGreaterThan(112);
  }

  /** Whatever the chance, and however the threads at both ends pause. */
  @Test
  void isNotLedAstrayByChance() {
    for (int seed = 0; seed < 20; seed++) {
      WindowTest one = new WindowTest();
      one.path.mb(1000).roundTrip(1).chance(seed);
      // A pause of 20 ms after 200 requests of half a ms each, one with another.
      assertThat(one.send(20).mbPerSecond).as("seed " + seed).isGreaterThan(0.9 * 1000 / 1.19);
    }
  }

  @Test
  void whatIsHinderedSaysNothingOfThePath() {
    path.mb(1000);
    for (int i = 0; i < 1000; i++) {
      long done = path.done(now, window.requestSize());
      window.arrived(now, done, window.requestSize(), window.requestSize());
      window.hindered();
      now = done;
    }

    assertThat(window.depth()).isEqualTo(4);
    assertThat(window.requestSize()).isEqualTo(LARGEST / 2);
  }

  @Test
  void zeroesSayNothingOfThePath() {
    for (int i = 0; i < 1000; i++) {
      window.arrived(now, now + 1000, LARGEST, 0);
      now += 1000;
    }

    assertThat(window.depth()).isEqualTo(4);
  }

  @Test
  void anotherDestinationIsAnotherPath() {
    path.mb(1000);
    send(1);
    assertThat(window.depth()).isGreaterThan(8);

    window.restart();

    assertThat(window.depth()).isEqualTo(4);
  }

  @Test
  void neverHasMoreThanIsAllowed() {
    Window narrow = new Window(1, BLOCK, BLOCK);
    for (int i = 0; i < 1000; i++) {
      narrow.arrived(now, now + 1000, BLOCK, BLOCK);
      now += 1000;
      assertThat(narrow.depth()).isEqualTo(1);
      assertThat(narrow.requestSize()).isEqualTo(BLOCK);
    }
  }
}
