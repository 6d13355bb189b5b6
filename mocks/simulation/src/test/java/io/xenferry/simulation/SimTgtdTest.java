package io.xenferry.simulation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.iscsi.target.TargetException;
import io.xenferry.iscsi.tgt.Tgtadm;
import java.io.IOException;
import java.util.HashSet;
import java.util.Set;
import java.util.UUID;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class SimTgtdTest extends TgtadmContract {
  private final Set<String> disks = new HashSet<>();
  private final SimTgtd tgtd = new SimTgtd(disks::contains, () -> {});

  @BeforeEach
  void start() {
    tgtd.start();
  }

  @Override
  Tgtadm tgtadm() {
    return tgtd;
  }

  @Override
  String backing(UUID disk) {
    disks.add("/" + disk);
    return "/" + disk;
  }

  @Override
  AutoCloseable login() throws IOException {
    tgtd.login(IQN).orElseThrow(() -> new IOException("nobody can log in"));
    return () -> {};
  }

  @Test
  void oneThatHasDiedHasNothingWhenItComesBack() throws Exception {
    int life = tgtd.start();
    tgtd.run("--mode", "target", "--op", "new", "--tid", "1", "--targetname", IQN);
    tgtd.die();
    assertThat(tgtd.lives(life)).isFalse();
    assertThatThrownBy(() -> tgtd.run("--mode", "target", "--op", "show"))
        .isInstanceOfSatisfying(
            TargetException.class, e -> assertThat(e.kind()).isEqualTo(TargetException.Kind.DOWN));
    assertThat(tgtd.start()).isNotEqualTo(life);
    assertThat(tgtd.run("--mode", "target", "--op", "show")).isBlank();
  }
}
