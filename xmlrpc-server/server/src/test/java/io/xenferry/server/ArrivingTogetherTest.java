package io.xenferry.server;

import static io.xenferry.server.SessionTest.assertCode;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;
import static org.awaitility.Awaitility.await;

import io.xenferry.migration.ports.DestinationPorts;
import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.server.migration.Decorators;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/**
 * What one move has been promised no other one is, nor a VM of the host, from its first look on:
 * the disks of the first are held up before they are made.
 */
class ArrivingTogetherTest {
  private static final long MEMORY = 64L << 20;

  private final CompletableFuture<Void> making = new CompletableFuture<>();
  private final CompletableFuture<Void> made = new CompletableFuture<>();
  private TwoHosts hosts;

  @BeforeEach
  void start() throws Exception {
    hosts =
        TwoHosts.start(
            new Decorators(
                UnaryOperator.identity(),
                UnaryOperator.identity(),
                real -> holding(DestinationPorts.class, real),
                UnaryOperator.identity(),
                UnaryOperator.identity()));
  }

  @AfterEach
  void close() throws Exception {
    made.complete(null);
    hosts.close();
  }

  private <T> T holding(Class<T> type, T real) {
    return type.cast(
        Proxy.newProxyInstance(
            type.getClassLoader(),
            new Class<?>[] {type},
            (proxy, method, arguments) -> {
              if (method.getName().equals("createVdi")) {
                making.complete(null);
                return made.thenCompose(go -> (CompletableFuture<?>) call(real, method, arguments));
              }
              Object result = call(real, method, arguments);
              return result instanceof DestinationPorts.Storage storage
                  ? holding(DestinationPorts.Storage.class, storage)
                  : result;
            }));
  }

  private static Object call(Object real, Method method, Object[] arguments) {
    try {
      return method.invoke(real, arguments);
    } catch (InvocationTargetException | IllegalAccessException e) {
      throw new IllegalStateException(e);
    }
  }

  /** A VM that runs. */
  private Traveller traveller(String name) throws Exception {
    Traveller t = hosts.traveller(name, 1);
    t.start();
    return t;
  }

  private String begin(Traveller t, String sr, Map<String, String> options) throws Exception {
    return hosts.source.text("Async.VM.migrate_send", t.arguments(hosts.token(), sr, options));
  }

  /** Waits until its first disk would be made; one that has failed says why. */
  private void awaitHeld(String task) {
    await()
        .atMost(TwoHosts.LONG)
        .untilAsserted(() ->
            assertThat(making)
                .as("%s", hosts.source.call("task.get_error_info", task))
                .isCompleted());
  }

  /** By a dry run, and by the move itself. */
  private List<String> refused(Traveller t, String sr) throws Exception {
    XenApiException said =
        catchThrowableOfType(
            XenApiException.class,
            () ->
                hosts.source.call(
                    "VM.assert_can_migrate", t.arguments(hosts.token(), sr, Map.of())));
    assertThat(said).isNotNull();
    String task = begin(t, sr, Map.of());
    hosts.awaitStatus(task, "failure");
    List<String> error = TestServer.texts(hosts.source.call("task.get_error_info", task));
    assertThat(said.code()).isEqualTo(error.getFirst());
    assertThat(t.powerState()).isEqualTo("Running");
    return error;
  }

  /** A VM of the destination has all the rest of its memory. */
  private void leaveFree(long bytes) throws Exception {
    String host = hosts.destination.only("host");
    long free = Long.parseLong(hosts.destination.text("host.compute_free_memory", host));
    Ref<VM> large = new Ref<>(hosts.destination.vm("large", Map.of()));
    hosts
        .there
        .server
        .context()
        .db()
        .change(tx -> {
          tx.set(large, VM.MEMORY_STATIC_MAX, free - bytes);
          tx.set(large, VM.POWER_STATE, VmPowerState.RUNNING);
        });
  }

  @Test
  void memoryIsPromisedOnce() throws Exception {
    leaveFree(MEMORY / 2 * 3);
    Traveller first = traveller("first");
    Traveller second = traveller("second");
    String task = begin(first, hosts.to, Map.of());
    awaitHeld(task);

    List<String> error = refused(second, hosts.to);
    assertThat(error).hasSize(3);
    assertThat(error.subList(0, 2))
        .containsExactly("HOST_NOT_ENOUGH_FREE_MEMORY", Long.toString(MEMORY));
    assertThat(Long.parseLong(error.get(2))).isBetween(0L, MEMORY - 1);
    String local = hosts.destination.vm("local", Map.of());
    assertCode(
        "HOST_NOT_ENOUGH_FREE_MEMORY",
        () -> hosts.destination.call("VM.start", local, false, false));

    made.complete(null);
    hosts.awaitSuccess(task);
    first.endThere(hosts.destination.text("VM.get_by_uuid", first.uuid()));
    second.endThere(second.move());
  }
}
