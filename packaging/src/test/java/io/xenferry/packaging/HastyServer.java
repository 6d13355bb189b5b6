package io.xenferry.packaging;

import io.xenferry.migration.state.Deadlines;
import io.xenferry.server.ServerMain;
import java.lang.reflect.RecordComponent;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;

/** A {@link FaultyServer} that loses its patience after seconds, where others wait for minutes. */
final class HastyServer {
  private HastyServer() {}

  /** Still long enough for a busy machine: what is late for no reason would end a move. */
  private static final Map<String, Duration> SHORT =
      Map.of(
          "message", Duration.ofSeconds(4),
          "open", Duration.ofSeconds(20),
          "memory", Duration.ofSeconds(30),
          "pause", Duration.ofSeconds(10),
          "switchOver", Duration.ofSeconds(10),
          "step", Duration.ofSeconds(20),
          "heartbeat", Duration.ofMillis(300),
          "lost", Duration.ofSeconds(2),
          "resumeWindow", Duration.ofSeconds(8),
          "retryMost", Duration.ofSeconds(1));

  /** All others are as usual. */
  private static Deadlines shorter(Deadlines usual) {
    RecordComponent[] components = Deadlines.class.getRecordComponents();
    Class<?>[] types = new Class<?>[components.length];
    Object[] values = new Object[components.length];
    int shortened = 0;
    try {
      for (int i = 0; i < components.length; i++) {
        types[i] = components[i].getType();
        Duration shorter = SHORT.get(components[i].getName());
        values[i] = shorter == null ? components[i].getAccessor().invoke(usual) : shorter;
        shortened += shorter == null ? 0 : 1;
      }
      if (shortened != SHORT.size()) {
        throw new IllegalStateException("a deadline is called otherwise by now");
      }
      return Deadlines.class.getConstructor(types).newInstance(values);
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException(e);
    }
  }

  public static void main(String[] arguments) {
    List<String> words = List.of(arguments);
    Path state = Path.of(words.get(words.indexOf("--state-dir") + 1));
    System.exit(
        ServerMain.run(
            new ServerMain(FaultyServer.faults(state, HastyServer::shorter)), arguments));
  }
}
