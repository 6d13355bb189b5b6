package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The disk of a Linux guest in QEMU moves between SRs of its host, and changes its format. */
@Timeout(300)
@Tag("slow")
class LinuxDiskMoveTest {

  @Test
  void aRunningLinuxGuestGoesOnWithEveryNewDisk() throws Exception {
    try (Moves moves = Moves.linux("io.xenferry.server.ServerMain", "--target", "embedded")) {
      moves.install(32L << 20);
      moves.start();
      Site site = moves.lab().alpha();
      HostDisks disks = new HostDisks(site, moves);
      disks.add("layers", "qcow2");
      disks.add("plain", "raw");
      for (String to : new String[] {"layers", "plain", "sr"}) {
        moves.observer().forgetGaps();
        Xe.Outcome outcome = disks.move(to).await();
        assertThat(outcome.exit()).as(outcome + moves.describe()).isZero();
        System.out.println(to + ": longest gap " + moves.observer().longestGap());
        Path image = disks.assertWell();
        assertThat(image.getParent()).isEqualTo(site.directory().resolve(to));
        assertThat(image.toString()).endsWith(to.equals("layers") ? ".qcow2" : ".raw");
        assertThat(moves.observer().anomalies()).isEmpty();
        assertThat(moves.observer().errors()).as("failed writes").isZero();
      }
      // The guest is as it was for whoever moves it.
      Xe.Outcome outcome = moves.move(site).await();
      assertThat(outcome.exit()).as(outcome + moves.describe()).isZero();
      assertThat(moves.assertWell()).isSameAs(moves.lab().beta());
    }
  }
}
