package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.block.ExternalTools;
import io.xenferry.model.Ref;
import io.xenferry.model.VDI;
import io.xenferry.model.VM;
import io.xenferry.model.Value;
import io.xenferry.model.VmOperations;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.SqliteDatabase;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Servers that are started where one before them died while it took a checkpoint. The guest is in
 * QEMU; how that server left it is told to QEMU and to the database here.
 */
class CheckpointRecoveryTest {
  private static final Duration PATIENCE = Duration.ofSeconds(60);
  private static final String NONE = "OpaqueRef:NULL";

  /** How far the guest's memory was sent. */
  private enum Left {
    UNDER_WAY,
    STANDING_STILL,
    SENT
  }

  private static TestServer server;
  private static TestServer.Calls root;
  private static String sr;

  @BeforeAll
  static void start() throws Exception {
    ExternalTools.require("qemu-img", "qemu-nbd", "qemu-system-x86_64");
    Path directory = Files.createTempDirectory("xenferry");
    server =
        TestServer.startAt(
            "127.0.0.1",
            directory,
            database(directory),
            config -> config.with(config.toolstack().withHypervisor("qemu")));
    root = server.calls();
    sr = root.layeredSr(directory.resolve("layers"));
    root.call("pool.set_suspend_image_SR", root.only("pool"), sr);
  }

  @AfterAll
  static void stop() throws Exception {
    if (server != null) {
      server.close();
    }
  }

  private static ObjectDatabase database(Path directory) throws Exception {
    return SqliteDatabase.open(directory.resolve("pool.db"));
  }

  private static void nextServer() throws Exception {
    server = server.again(() -> database(server.directory));
    root = server.calls();
  }

  private static String vm(String name) throws Exception {
    String vm = root.vm(name, Map.of());
    root.vbd(vm, root.vdi(sr, name, 8 << 20), 0);
    root.call("VM.start", vm, false, false);
    await().atMost(PATIENCE).until(() -> ticks(vm) > 20);
    return vm;
  }

  private static String uuid(String vm) throws Exception {
    return root.text("VM.get_uuid", vm);
  }

  private static long ticks(String vm) throws Exception {
    return GuestMonitor.ticks(server, uuid(vm));
  }

  /** What is on record while one is being taken; the disk for the memory. */
  private static String begun(String vm) throws Exception {
    String image =
        root.text(
            "VDI.create",
            RecordsTest.required(
                "VDI",
                Map.of(
                    "name_label",
                    "memory",
                    "SR",
                    sr,
                    "virtual_size",
                    16 << 20,
                    "type",
                    "suspend")));
    server
        .server
        .context()
        .db()
        .change(tx -> {
          tx.set(new Ref<VM>(vm), VM.SUSPEND_VDI, new Ref<VDI>(image));
          tx.set(
              new Ref<VM>(vm),
              VM.CURRENT_OPERATIONS,
              Map.of(Ref.random().opaque(), VmOperations.CHECKPOINT));
        });
    return image;
  }

  /** The end of the memory's way, which dies with its server. */
  private static final class Sink implements AutoCloseable {
    private final Path socket = server.directory.resolve("memory.sock");
    private final ServerSocketChannel listening;

    Sink() throws IOException {
      listening = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
      listening.bind(UnixDomainSocketAddress.of(socket));
      Thread.ofVirtual().start(this::drain);
    }

    private void drain() {
      ByteBuffer bytes = ByteBuffer.allocate(1 << 20);
      try (SocketChannel stream = listening.accept()) {
        while (listening.isOpen() && stream.read(bytes.clear()) >= 0) {
          Thread.onSpinWait();
        }
      } catch (IOException e) {
        System.out.println("the memory's way ends: " + e);
      }
    }

    @Override
    public void close() throws IOException {
      listening.close();
      Files.deleteIfExists(socket);
    }
  }

  private static void monitor(String vm, String command, Map<String, ?> arguments)
      throws Exception {
    GuestMonitor.execute(server, uuid(vm), command, arguments);
  }

  private static void awaitMigration(String vm, String status) {
    await()
        .atMost(PATIENCE)
        .until(() ->
            GuestMonitor.execute(server, uuid(vm), "query-migrate", Map.of())
                .path("status")
                .asText()
                .equals(status));
  }

  private static void send(String vm, Sink sink, Left left) throws Exception {
    monitor(
        vm,
        "migrate-set-capabilities",
        Map.of(
            "capabilities",
            List.of(Map.of("capability", "pause-before-switchover", "state", true))));
    monitor(
        vm,
        "migrate-set-parameters",
        Map.of(
            "max-bandwidth",
            left == Left.UNDER_WAY ? 64L << 10 : 1L << 30,
            "downtime-limit",
            left == Left.UNDER_WAY ? 1 : 2_000_000));
    monitor(vm, "migrate", Map.of("uri", "unix:" + sink.socket));
    switch (left) {
      case UNDER_WAY -> awaitMigration(vm, "active");
      case STANDING_STILL -> awaitMigration(vm, "pre-switchover");
      case SENT -> {
        awaitMigration(vm, "pre-switchover");
        monitor(vm, "migrate-continue", Map.of("state", "pre-switchover"));
        awaitMigration(vm, "completed");
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void theGuestGoesOnAndNothingIsLeft(Left left) throws Exception {
    String vm = vm(left.toString());
    List<String> vdis = root.all("VDI");
    GuestMonitor.io(server, uuid(vm), "write -P 1 0 1M");
    String image = begun(vm);
    try (Sink sink = new Sink()) {
      send(vm, sink, left);
    }

    nextServer();

    assertThat(root.text("VM.get_power_state", vm)).isEqualTo("Running");
    long now = ticks(vm);
    await().atMost(PATIENCE).until(() -> ticks(vm) > now);
    assertNothingLeft(vm, image, vdis);
    GuestMonitor.io(server, uuid(vm), "read -P 1 0 1M", "write -P 2 0 1M");
    // The next one is as any.
    String checkpoint = root.text("VM.checkpoint", vm, "again");
    GuestMonitor.io(server, uuid(vm), "write -P 3 0 1M");
    root.call("VM.revert", checkpoint);
    root.call("VM.resume", vm, false, false);
    GuestMonitor.io(server, uuid(vm), "read -P 2 0 1M");
    root.call("VM.hard_shutdown", vm);
  }

  private static void assertNothingLeft(String vm, String image, List<String> vdis)
      throws Exception {
    assertThat(root.text("VM.get_suspend_VDI", vm)).isEqualTo(NONE);
    assertThat(root.all("VDI")).doesNotContain(image).hasSameElementsAs(vdis);
    assertThat(((Value.Struct) root.call("VM.get_current_operations", vm)).members()).isEmpty();
    assertThat(TestServer.texts(root.call("VM.get_allowed_operations", vm)))
        .contains("checkpoint", "suspend");
  }

  @Test
  void aGuestThatDiedAsWellLeavesAHaltedVm() throws Exception {
    String vm = vm("dead");
    List<String> vdis = root.all("VDI");
    root.call("VM.set_actions_after_crash", vm, "destroy");
    String image = begun(vm);
    Path pid = server.directory.resolve("guests").resolve(uuid(vm)).resolve("pid");
    ProcessHandle guest =
        ProcessHandle.of(Long.parseLong(Files.readString(pid).strip())).orElseThrow();
    guest.destroyForcibly();
    await().atMost(PATIENCE).until(() -> !guest.isAlive());

    nextServer();

    assertThat(root.text("VM.get_power_state", vm)).isEqualTo("Halted");
    assertThat(root.text("VM.get_suspend_VDI", vm)).isEqualTo(NONE);
    assertThat(root.all("VDI")).doesNotContain(image).hasSameElementsAs(vdis);
    root.call("VM.start", vm, false, false);
    root.call("VM.hard_shutdown", vm);
  }
}
