package io.xenferry.server;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.xenferry.model.ClassDef;
import io.xenferry.model.DataModel;
import io.xenferry.wire.Trust;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.HostnameVerifier;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.SSLSocketFactory;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Published Java SDKs, unmodified, over TLS. */
class JavaSdkTest {
  private static SSLSocketFactory factory;
  private static HostnameVerifier verifier;
  private static TwoHosts hosts;

  /** One object of each class that has none, with nothing but defaults. */
  private static final Map<String, String> MADE = new LinkedHashMap<>();

  /** Where published servers, too, tell what is newer than the older SDK. */
  private static final Map<String, Set<String>> NEWER =
      Map.of(
          "8.1.0",
          Set.of(),
          "6.2.0-3.1",
          Set.of(
              "sr.allowedOperations holds an unknown word",
              "vdi.allowedOperations holds an unknown word"));

  @BeforeAll
  static void start() throws Exception {
    hosts = TwoHosts.start();
    // What an SDK's user is told to do about certificates that nobody has signed.
    factory = HttpsURLConnection.getDefaultSSLSocketFactory();
    verifier = HttpsURLConnection.getDefaultHostnameVerifier();
    HttpsURLConnection.setDefaultSSLSocketFactory(
        Trust.pinned(hosts.here.server.fingerprint()).context().getSocketFactory());
    HttpsURLConnection.setDefaultHostnameVerifier((name, session) -> true);
    Traveller t = hosts.traveller("runs", 1);
    hosts.source.call("VM.start", t.vm(), false, false);
    hosts.source.call("task.create", "nobody's", "");
    String host = hosts.source.text("host.get_uuid", hosts.source.only("host"));
    hosts.source.call("message.create", "TOLD", 3, "Host", host, "of the host");
    hosts
        .here
        .server
        .context()
        .db()
        .change(tx -> {
          for (ClassDef c : DataModel.classes()) {
            if (c.inDatabase() && !c.lifecycle().removed() && tx.rows(c.name()).isEmpty()) {
              MADE.put(c.name(), tx.create(c.name(), Map.of()));
            }
          }
        });
  }

  @AfterAll
  static void stop() throws Exception {
    HttpsURLConnection.setDefaultSSLSocketFactory(factory);
    HttpsURLConnection.setDefaultHostnameVerifier(verifier);
    hosts.close();
  }

  @ParameterizedTest
  @ValueSource(strings = {"8.1.0", "6.2.0-3.1"})
  void everyRecordOfEveryClassIsDecoded(String version) throws Exception {
    try (JavaSdk sdk = new JavaSdk(version)) {
      Object connection = sdk.connect(hosts.here);
      List<String> faults = new ArrayList<>();
      Set<String> removed = new TreeSet<>();
      Set<String> empty = new TreeSet<>();
      for (String name : sdk.classes()) {
        Map<?, ?> records;
        try {
          records = (Map<?, ?>) sdk.call(name, "getAllRecords", connection);
        } catch (java.io.IOException e) {
          assertThat(e.getClass().getSimpleName()).as(name).isEqualTo("MessageRemoved");
          removed.add(name);
          continue;
        }
        if (records.isEmpty()) {
          empty.add(name);
        }
        for (Map.Entry<?, ?> e : records.entrySet()) {
          for (Object record :
              List.of(e.getValue(), sdk.call(e.getKey(), "getRecord", connection))) {
            faults.addAll(faults(version, name, record));
          }
        }
      }
      assertThat(faults).isEmpty();
      // Published servers of this version have no records of these any more, either.
      assertThat(removed).containsExactlyInAnyOrder("VBDMetrics", "VIFMetrics", "VMPP");
      assertThat(empty).isEmpty();
    }
  }

  private static List<String> faults(String version, String className, Object record)
      throws Exception {
    return JavaSdk.faults(record).stream()
        .map(f -> className.toLowerCase(Locale.ROOT) + "." + f)
        .filter(f -> !NEWER.get(version).contains(f))
        .toList();
  }

  @ParameterizedTest
  @ValueSource(strings = {"8.1.0", "6.2.0-3.1"})
  void itsCacheIsFilledAndFollows(String version) throws Exception {
    try (JavaSdk sdk = new JavaSdk(version)) {
      Object connection = sdk.connect(hosts.here);
      // It cannot decode an event of a class that is newer than itself.
      Set<String> known = eventClasses(sdk);
      assertThat(known).contains("vm", "vm_metrics", "host", "pool", "task", "sr", "vdi", "pif");
      Object batch = sdk.call("Event", "from", connection, known, "", 30.0);
      Set<String> seen = new TreeSet<>();
      List<String> faults = new ArrayList<>();
      for (Object event : (Set<?>) JavaSdk.field(batch, "events")) {
        String of = (String) JavaSdk.field(event, "clazz");
        seen.add(of.toLowerCase(Locale.ROOT));
        assertThat(JavaSdk.field(event, "operation")).hasToString("add");
        faults.addAll(faults(version, of, JavaSdk.field(event, "snapshot")));
      }
      assertThat(faults).isEmpty();
      assertThat(seen).containsAll(known);
      String token = (String) JavaSdk.field(batch, "token");
      CompletableFuture<Object> waiting =
          CompletableFuture.supplyAsync(() -> {
            try {
              return sdk.call("Event", "from", connection, Set.of("network"), token, 60.0);
            } catch (Exception e) {
              throw new IllegalStateException(e);
            }
          });
      Object other = sdk.connect(hosts.here);
      String name = "followed by " + version;
      Object network = ((Set<?>) sdk.call("Network", "getAll", other)).iterator().next();
      sdk.call(network, "setNameDescription", other, name);
      Object change =
          ((Set<?>) JavaSdk.field(waiting.get(60, TimeUnit.SECONDS), "events")).iterator().next();
      assertThat(JavaSdk.field(change, "operation")).hasToString("mod");
      assertThat(JavaSdk.field(JavaSdk.field(change, "snapshot"), "nameDescription"))
          .isEqualTo(name);
    }
  }

  /** Those of which it has records, as events name them. */
  private static Set<String> eventClasses(JavaSdk sdk) throws Exception {
    Map<String, String> names = new HashMap<>();
    for (ClassDef c : DataModel.classes()) {
      if (c.events() && !c.lifecycle().removed()) {
        String name = c.name().toLowerCase(Locale.ROOT);
        names.put(name.replace("_", ""), name);
      }
    }
    Set<String> known = new TreeSet<>();
    for (String name : sdk.classes()) {
      String found = names.get(name.toLowerCase(Locale.ROOT));
      if (found != null) {
        known.add(found);
      }
    }
    return known;
  }

  @ParameterizedTest
  @ValueSource(strings = {"8.1.0", "6.2.0-3.1"})
  void theOldEventsAreDecoded(String version) throws Exception {
    try (JavaSdk sdk = new JavaSdk(version)) {
      Object connection = sdk.connect(hosts.here);
      sdk.call("Event", "register", connection, Set.of("pool"));
      Object pool = ((Set<?>) sdk.call("Pool", "getAll", connection)).iterator().next();
      String name = "told to " + version;
      sdk.call(pool, "setNameDescription", connection, name);
      await()
          .atMost(TwoHosts.LONG)
          .until(() -> {
            for (Object event : (Set<?>) sdk.call("Event", "next", connection)) {
              Object snapshot = JavaSdk.field(event, "snapshot");
              if (JavaSdk.field(snapshot, "nameDescription").equals(name)) {
                return true;
              }
            }
            return false;
          });
      sdk.call("Event", "unregister", connection, Set.of("pool"));
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"8.1.0", "6.2.0-3.1"})
  void itMovesARunningVm(String version) throws Exception {
    Traveller t = hosts.traveller("moves-by-" + version, 1);
    hosts.source.call("VM.start", t.vm(), false, false);
    try (JavaSdk sdk = new JavaSdk(version)) {
      Object here = sdk.connect(hosts.here);
      Object there = sdk.connect(hosts.there);
      Object vm = sdk.call("VM", "getByUuid", here, t.uuid());
      assertThat(sdk.call(vm, "getAllowedOperations", here).toString()).contains("migrate_send");
      Object session = sdk.call("Host", "getAll", there);
      Object host = ((Set<?>) session).iterator().next();
      Object network = ((Set<?>) sdk.call("Network", "getAll", there)).iterator().next();
      Object token = sdk.call(host, "migrateReceive", there, network, Map.of());
      Map<Object, Object> disks = new HashMap<>();
      for (Object vbd : (Set<?>) sdk.call(vm, "getVBDs", here)) {
        String sr = hosts.destination.text("SR.get_uuid", hosts.to);
        disks.put(sdk.call(vbd, "getVDI", here), sdk.call("SR", "getByUuid", there, sr));
      }
      Map<Object, Object> interfaces = new HashMap<>();
      for (Object vif : (Set<?>) sdk.call(vm, "getVIFs", here)) {
        interfaces.put(vif, network);
      }
      assertThat(disks).hasSize(1);
      assertThat(interfaces).hasSize(1);
      Map<String, String> options = Map.of();
      sdk.call(vm, "assertCanMigrate", here, token, true, disks, interfaces, options);
      Object task = sdk.call(vm, "migrateSendAsync", here, token, true, disks, interfaces, options);
      await()
          .atMost(TwoHosts.LONG)
          .until(() ->
              !JavaSdk.field(sdk.call(task, "getRecord", here), "status")
                  .toString()
                  .equals("pending"));
      Object record = sdk.call(task, "getRecord", here);
      assertThat(JavaSdk.field(record, "status"))
          .as(JavaSdk.field(record, "errorInfo").toString())
          .hasToString("success");
      String result = JavaSdk.field(record, "result").toString();
      assertThat(result).matches("<value>OpaqueRef:[-0-9a-f]{36}</value>");
      Object moved = sdk.call("VM", "getByUuid", there, t.uuid());
      assertThat(result).isEqualTo("<value>" + sdk.call(moved, "toWireString") + "</value>");
      assertThat(sdk.call(moved, "getPowerState", there).toString().toLowerCase(Locale.ROOT))
          .isEqualTo("running");
      sdk.call(task, "destroy", here);
      sdk.call(moved, "hardShutdown", there);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"8.1.0", "6.2.0-3.1"})
  void itKnowsTheErrors(String version) throws Exception {
    try (JavaSdk sdk = new JavaSdk(version)) {
      Object connection = sdk.connect(hosts.here);
      String uuid = "11111111-2222-3333-4444-555555555555";
      Exception unknown = failure(() -> sdk.call("VM", "getByUuid", connection, uuid));
      assertThat(unknown.getClass().getSimpleName()).isEqualTo("UuidInvalid");
      Object vm = ((Set<?>) sdk.call("VM", "getByNameLabel", connection, "runs")).iterator().next();
      Exception state = failure(() -> sdk.call(vm, "start", connection, false, false));
      assertThat(state.getClass().getSimpleName()).isEqualTo("VmBadPowerState");
      sdk.call("Session", "logout", connection);
      Object again = sdk.connect(hosts.here);
      assertThat(sdk.call("Pool", "getAll", again)).isInstanceOf(Set.class);
    }
  }

  private interface Attempt {
    Object run() throws Exception;
  }

  private static Exception failure(Attempt attempt) throws Exception {
    Object result;
    try {
      result = attempt.run();
    } catch (Exception e) {
      return e;
    }
    throw new AssertionError("there was an answer: " + result);
  }
}
