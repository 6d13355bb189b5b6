package io.xenferry.packaging;

import io.xenferry.migration.peer.PeerRequest;
import io.xenferry.migration.peer.PeerTransport;
import io.xenferry.migration.ports.CopyJob;
import io.xenferry.migration.ports.DestinationPorts;
import io.xenferry.migration.ports.SourcePorts;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.nio.file.Path;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;

/**
 * Ports of which each effect is a point at which a {@link Fault} may come about: before it is asked
 * for, and after it has come about, before the coordinator hears of it. Their names are those of
 * the methods, as in {@code storage.createVdi}; those of messages are as in {@code message open}.
 */
final class FatalPorts {
  /** What only looks, or waits for what others do. */
  private static final Set<String> NO_EFFECTS =
      Set.of(
          "observe",
          "ended",
          "memoryProgress",
          "limits",
          "converged",
          "nearly",
          "progress",
          "check",
          "admit",
          "checkRoom",
          "standing");

  /** Messages that a move may be too quick for. */
  private static final Set<String> UNCERTAIN = Set.of("message heartbeat", "message status");

  private FatalPorts() {}

  static SourcePorts source(SourcePorts real, Path state) {
    return wrap(SourcePorts.class, real, "", state);
  }

  static DestinationPorts destination(DestinationPorts real, Path state) {
    return wrap(DestinationPorts.class, real, "", state);
  }

  static PeerTransport peers(PeerTransport real, Path state) {
    return (to, request, deadline) ->
        UNCERTAIN.contains(name(request))
            ? real.exchange(to, request, deadline)
            : around(
                state, name(request), () -> real.exchange(to, request, deadline), answer -> answer);
  }

  private static String name(PeerRequest request) {
    return "message "
        + (request.method().equals("PUT")
            ? "open"
            : request.path().substring(request.path().lastIndexOf('/') + 1));
  }

  private static <T> T wrap(Class<T> type, T real, String room, Path state) {
    return type.cast(
        Proxy.newProxyInstance(
            type.getClassLoader(),
            new Class<?>[] {type},
            (proxy, method, arguments) -> call(real, room, state, method, arguments)));
  }

  private static Object call(
      Object real, String room, Path state, Method method, Object[] arguments) throws Throwable {
    if (CompletableFuture.class.isAssignableFrom(method.getReturnType())
        && !NO_EFFECTS.contains(method.getName())) {
      return around(
          state,
          room + "." + method.getName(),
          () -> future(real, method, arguments),
          value -> value instanceof CopyJob job ? wrapJob(job, state) : value);
    }
    Object result;
    try {
      result = method.invoke(real, arguments);
    } catch (InvocationTargetException e) {
      throw e.getCause();
    }
    return room.isEmpty() && method.getReturnType().isInterface()
        ? wrapRoom(method.getReturnType(), result, method.getName(), state)
        : result;
  }

  @SuppressWarnings("unchecked")
  private static CompletableFuture<Object> future(Object real, Method method, Object[] arguments) {
    try {
      return (CompletableFuture<Object>) method.invoke(real, arguments);
    } catch (InvocationTargetException e) {
      throw e.getCause() instanceof RuntimeException r
          ? r
          : new IllegalStateException(e.getCause());
    } catch (IllegalAccessException e) {
      throw new IllegalStateException(e);
    }
  }

  private static <T> T wrapRoom(Class<T> type, Object real, String room, Path state) {
    return wrap(type, type.cast(real), room, state);
  }

  private static CopyJob wrapJob(CopyJob real, Path state) {
    return wrap(CopyJob.class, real, "job", state);
  }

  /** Failures pass as they are: the coordinator tells them apart by their classes. */
  private static <T> CompletableFuture<T> around(
      Path state, String name, Supplier<CompletableFuture<T>> effect, UnaryOperator<T> seen) {
    FaultPoint.passed(state, name);
    FaultPoint.meet(state, Fault.Moment.BEFORE, name);
    CompletableFuture<T> told = new CompletableFuture<>();
    effect
        .get()
        .whenComplete((value, failure) -> {
          if (failure == null) {
            FaultPoint.meet(state, Fault.Moment.AFTER, name);
            told.complete(seen.apply(value));
          } else {
            told.completeExceptionally(failure);
          }
        });
    return told;
  }
}
