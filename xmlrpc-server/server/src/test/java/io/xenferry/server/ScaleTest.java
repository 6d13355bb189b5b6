package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.SR;
import io.xenferry.model.Value;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.SqliteDatabase;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * A pool of 100,000 objects: 20,000 VMs, each with its metrics, a disk, a VBD and a VIF. Prints
 * what docs/database.md records; asserts that all answers are whole, not that they are fast.
 */
@Tag("slow")
@Timeout(600)
class ScaleTest {
  private static final int VMS = Integer.getInteger("xenferry.scale.vms", 20_000);

  private interface Timed {
    void run() throws Exception;
  }

  private static <T> T timed(String what, Callable<T> work) throws Exception {
    long start = System.nanoTime();
    T result = work.call();
    System.out.printf("%-48s %9.1f ms%n", what, (System.nanoTime() - start) / 1e6);
    return result;
  }

  private static void each(String what, int times, Timed work) throws Exception {
    long start = System.nanoTime();
    for (int i = 0; i < times; i++) {
      work.run();
    }
    System.out.printf("%-48s %9.2f ms%n", what, (System.nanoTime() - start) / 1e6 / times);
  }

  private static long heap() {
    for (int i = 0; i < 3; i++) {
      System.gc();
    }
    Runtime r = Runtime.getRuntime();
    return (r.totalMemory() - r.freeMemory()) >> 20;
  }

  private static void fill(ObjectDatabase db, int from, int to) throws Exception {
    db.change(tx -> {
      Value sr =
          tx.rows("SR").isEmpty()
              ? Value.of(tx.create("SR", Map.of("name_label", Value.of("large"))))
              : Value.of(tx.rows("SR").iterator().next().ref());
      Value network = Value.of(tx.rows("network").iterator().next().ref());
      for (int i = from; i < to; i++) {
        Value name = Value.of("vm " + i);
        Value metrics = Value.of(tx.create("VM_metrics", Map.of()));
        Value vm = Value.of(tx.create("VM", Map.of("name_label", name, "metrics", metrics)));
        Value vdi = Value.of(tx.create("VDI", Map.of("name_label", name, "SR", sr)));
        tx.create("VBD", Map.of("VM", vm, "VDI", vdi, "userdevice", Value.of("0")));
        tx.create("VIF", Map.of("VM", vm, "network", network, "device", Value.of("0")));
      }
    });
  }

  @Test
  void aHundredThousandObjects(@TempDir Path directory) throws Exception {
    Path file = directory.resolve("pool.db");
    long empty = heap();
    TestServer first = TestServer.start(directory, SqliteDatabase.open(file), TestServer.limits());
    long small = heap();
    ObjectDatabase filling = first.server.context().db();
    timed(
        "filling, 1,000 VMs a commit",
        () -> {
          for (int i = 0; i < VMS; i += 1000) {
            fill(filling, i, Math.min(i + 1000, VMS));
          }
          return VMS;
        });
    first.stop();
    System.out.printf("%-48s %9d MiB%n", "file", Files.size(file) >> 20);
    ObjectDatabase db = timed("opening the database", () -> SqliteDatabase.open(file));
    System.out.printf("%-48s %9d MiB%n", "heap of the objects", heap() - empty);
    try (TestServer server =
        timed(
            "starting the server on it",
            () -> TestServer.start(directory, db, TestServer.limits()))) {
      System.out.printf(
          "%-48s %9d MiB, %d MiB when empty%n",
          "heap of the server", heap() - empty, small - empty);
      TestServer.Calls root = server.calls();
      String session = root.session();
      assertThat(timed("VM.get_all_records", () -> records(server, "VM", session)))
          .isGreaterThan(VMS * 1000L);
      assertThat(timed("VDI.get_all_records", () -> records(server, "VDI", session)))
          .isGreaterThan(VMS * 1000L);
      String everything =
          "<?xml version=\"1.0\"?><methodCall><methodName>event.from</methodName><params><param>"
              + "<value>"
              + session
              + "</value></param><param><value><array><data><value>*</value></data></array></value>"
              + "</param><param><value></value></param><param><value><double>30</double></value>"
              + "</param></params></methodCall>";
      assertThat(timed("event.from(*, \"\")", () -> post(server, everything)))
          .isGreaterThan(VMS * 5000L);
      long after = heap();
      System.out.printf("%-48s %9d MiB%n", "heap after these answers", after - empty);
      String vm = root.all("VM").get(VMS / 2);
      String token = token(root);
      each(
          "event.from(*, token) after one change",
          20,
          () -> {
            root.call("VM.set_name_description", vm, "now " + System.nanoTime());
            Value answer = root.call("event.from", List.of("*"), token, 0.0);
            assertThat(((Value.Array) TestServer.member(answer, "events")).items()).isNotEmpty();
          });
      each(
          "VM.set_name_description",
          200,
          () -> root.call("VM.set_name_description", vm, "now " + System.nanoTime()));
      each("VM.get_record", 200, () -> root.call("VM.get_record", vm));
      String uuid = root.text("VM.get_uuid", vm);
      each("VM.get_by_uuid", 200, () -> root.call("VM.get_by_uuid", uuid));
      each("VM.get_by_name_label", 20, () -> root.call("VM.get_by_name_label", "vm 5"));
      each(
          "VM.get_all_where, one of them",
          20,
          () -> root.call("VM.get_all_where", "field \"name__label\"=\"vm 5\""));
      each(
          "VIF.create and destroy",
          50,
          () -> {
            String network = root.only("network");
            root.call(
                "VIF.destroy",
                root.text(
                    "VIF.create",
                    RecordsTest.required(
                        "VIF", Map.of("VM", vm, "network", network, "device", "5"))));
          });
      assertThat(server.server.context().db().snapshot().rows("VDI")).hasSize(VMS);
      String sr = root.only("SR");
      assertThat(db.snapshot().get(io.xenferry.model.Ref.<SR>of(sr), SR.VDIS)).hasSize(VMS);
    }
  }

  private static String token(TestServer.Calls root) throws Exception {
    return TestServer.text(
        TestServer.member(root.call("event.from", List.of("pool"), "", 0.0), "token"));
  }

  private static long records(TestServer server, String className, String session)
      throws Exception {
    return post(server, WireRulesTest.call(className + ".get_all_records", session));
  }

  /** How many bytes the answer has, of which nothing is kept. */
  private static long post(TestServer server, String body) throws Exception {
    try (HttpClient http = HttpClient.newHttpClient()) {
      HttpResponse<InputStream> r =
          http.send(
              HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + server.httpPort() + "/"))
                  .POST(HttpRequest.BodyPublishers.ofString(body))
                  .build(),
              HttpResponse.BodyHandlers.ofInputStream());
      assertThat(r.statusCode()).isEqualTo(200);
      long bytes = 0;
      byte[] buffer = new byte[64 * 1024];
      byte[] head = new byte[0];
      try (InputStream in = r.body()) {
        int n;
        while ((n = in.read(buffer)) >= 0) {
          if (head.length == 0) {
            head = java.util.Arrays.copyOf(buffer, Math.min(n, 300));
          }
          bytes += n;
        }
      }
      assertThat(new String(head, StandardCharsets.UTF_8)).contains("Success");
      return bytes;
    }
  }
}
