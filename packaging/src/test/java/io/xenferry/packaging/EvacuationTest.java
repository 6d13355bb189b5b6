package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.model.Value;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * {@code xe host-evacuate remote-master=}: all that runs on a host goes to a server without shared
 * storage, while one of the guests writes.
 */
@Timeout(300)
class EvacuationTest {
  private static final int IDLE = 3;

  private Moves moves;

  @AfterEach
  void end() throws Exception {
    if (moves != null) {
      moves.close();
    }
  }

  private Site alpha() {
    return moves.lab().alpha();
  }

  private Site beta() {
    return moves.lab().beta();
  }

  /** Beside the one that writes. */
  private void addIdle(int count) throws Exception {
    Xe xe = Xe.local(alpha());
    for (int i = 1; i <= count; i++) {
      String vm = xe.run("vm-install", "template=Other install media", "new-name-label=idle" + i);
      String sr = xe.run("sr-list", "name-label=raw", "--minimal");
      String vdi = xe.run("vdi-create", "sr-uuid=" + sr, "name-label=disk", "virtual-size=8MiB");
      xe.run("vbd-create", "vm-uuid=" + vm, "vdi-uuid=" + vdi, "device=0");
      xe.run("vm-start", "uuid=" + vm);
    }
  }

  private String[] evacuate() throws Exception {
    return new String[] {
      "host-evacuate",
      "remote-master=" + beta().hostAndPort(),
      "remote-username=root",
      "remote-password=" + beta().rootPassword()
    };
  }

  private static List<String> running(Site site) throws Exception {
    String names =
        Xe.local(site)
            .run(
                "vm-list",
                "is-control-domain=false",
                "power-state=running",
                "params=name-label",
                "--minimal");
    return List.of(names.split(","));
  }

  private void assertEvacuated(int idle) throws Exception {
    assertThat(running(beta()))
        .containsExactlyInAnyOrderElementsOf(
            IntStream.rangeClosed(0, idle).mapToObj(i -> i == 0 ? "busy" : "idle" + i).toList());
    try (Api api = new Api(alpha())) {
      assertThat(api.call("host.get_enabled", Value.of(api.texts("host.get_all").getFirst())))
          .isEqualTo(Value.of(false));
    }
    assertThat(moves.assertWell()).isSameAs(beta());
  }

  @Test
  void allOfThemGo() throws Exception {
    moves = new Moves("io.xenferry.server.ServerMain", "--target", "auto");
    moves.install(16L << 20);
    addIdle(IDLE);
    moves.start();
    Xe.Outcome looked = Xe.local(alpha()).start(with(evacuate(), "dry-run=true")).await();
    assertThat(looked.exit()).as(looked.toString()).isZero();
    assertThat(running(alpha())).hasSize(1 + IDLE);

    Xe.Outcome outcome = Xe.local(alpha()).start(evacuate()).await();
    assertThat(outcome.exit()).as(outcome + moves.describe()).isZero();
    assertEvacuated(IDLE);
  }

  /** A VM of the destination has all the rest of its memory. */
  private void leaveFree(long bytes) throws Exception {
    try (Api api = new Api(beta())) {
      long free =
          Long.parseLong(
              api.text("host.compute_free_memory", api.texts("host.get_all").getFirst()));
      String vm =
          Xe.local(beta())
              .run("vm-install", "template=Other install media", "new-name-label=large");
      String size = Long.toString(free - bytes);
      Xe.local(beta())
          .run(
              "vm-memory-limits-set",
              "uuid=" + vm,
              "static-min=" + size,
              "dynamic-min=" + size,
              "dynamic-max=" + size,
              "static-max=" + size);
      Xe.local(beta()).run("vm-start", "uuid=" + vm);
    }
  }

  /** Each of them fits, and any two, but not all together. */
  @Test
  void whereThereIsRoomForSomeTheOthersStay() throws Exception {
    moves = new Moves("io.xenferry.server.ServerMain", "--target", "auto");
    moves.install(16L << 20);
    addIdle(2);
    moves.start();
    long all = 0;
    long smallest = Long.MAX_VALUE;
    try (Api api = new Api(alpha())) {
      for (String name : running(alpha())) {
        String vm = api.texts("VM.get_by_name_label", name).getFirst();
        long memory = Long.parseLong(api.text("VM.get_memory_static_max", vm));
        all += memory;
        smallest = Math.min(smallest, memory);
      }
    }
    leaveFree(all - smallest / 2);

    Xe.Outcome refused = Xe.local(alpha()).start(evacuate()).await();
    assertThat(refused.exit()).as(refused.toString()).isNotZero();
    assertThat(refused.toString())
        .contains("HOST_NOT_ENOUGH_FREE_MEMORY", "1 of 3 VMs cannot move, and nothing has begun");
    assertThat(running(alpha())).hasSize(3);

    Xe.Outcome forced = Xe.local(alpha()).start(with(evacuate(), "force=true")).await();
    assertThat(forced.exit()).as(forced.toString()).isNotZero();
    assertThat(forced.toString()).contains("1 of 3 VMs are still here");
    assertThat(running(alpha())).hasSize(1);
    assertThat(running(beta())).hasSize(3).contains("large");
  }

  /** The server has them all in its queue. */
  @Test
  void theyGoOnWithoutTheirClient() throws Exception {
    moves = new Moves("io.xenferry.server.ServerMain", "--target", "auto");
    moves.install(16L << 20);
    addIdle(IDLE);
    moves.start();
    Xe.Running xe = Xe.local(alpha()).start(evacuate());
    await()
        .atMost(Moves.PATIENCE)
        .until(() ->
            Xe.local(alpha())
                    .run("task-list", "name-label=Async.VM.migrate_send", "--minimal")
                    .split(",")
                    .length
                > IDLE);
    xe.process().destroyForcibly();
    assertThat(xe.await().exit()).isNotZero();
    await().atMost(Moves.PATIENCE).ignoreExceptions().until(() -> running(beta()).size() > IDLE);
    assertEvacuated(IDLE);
  }

  @Test
  @Tag("slow")
  void linuxGoesToo() throws Exception {
    moves = Moves.linux("io.xenferry.server.ServerMain", "--target", "auto");
    moves.writing(1 << 20, 16 << 20).startServers();
    moves.addVm(DiskFiles.RAW, 64L << 20);
    addIdle(1);
    moves.start();
    Xe.Outcome outcome = Xe.local(alpha()).start(evacuate()).await();
    assertThat(outcome.exit()).as(outcome + moves.describe()).isZero();
    assertEvacuated(1);
    assertThat(moves.observer().boots()).as("boots of the guest").isOne();
  }

  private static String[] with(String[] command, String more) {
    String[] all = Arrays.copyOf(command, command.length + 1);
    all[command.length] = more;
    return all;
  }
}
