package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The demo: real servers, guests and clients as processes, there and back. */
@Timeout(240)
class ProcessesTest {

  private static int demo(String target, boolean corrupt) throws Exception {
    try (Moves moves = new Moves("io.xenferry.server.ServerMain", "--target", target)) {
      return new Demo(
              moves.lab(),
              Moves.QUIET,
              List.of(new Demo.DiskSize(32 << 20, 40), new Demo.DiskSize(16 << 20, 40)),
              1 << 20,
              "iscsi",
              corrupt,
              java.util.Optional.empty())
          .run();
    }
  }

  @Test
  void thereAndBackWithoutALostWrite() throws Exception {
    assertThat(demo("auto", false)).isZero();
  }

  @Test
  @Tag("slow")
  void thereAndBackThroughTheEmbeddedTarget() throws Exception {
    assertThat(demo("embedded", false)).isZero();
  }

  @Test
  @Tag("slow")
  void theCheckerFindsAFlippedByte() throws Exception {
    assertThat(demo("auto", true)).isEqualTo(1);
  }
}
