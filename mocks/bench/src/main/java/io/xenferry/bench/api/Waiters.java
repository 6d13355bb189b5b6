package io.xenferry.bench.api;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;

/**
 * A process whose clients wait in event.from while it changes a VM, and which prints how long after
 * the change was sent the first, the middle and the last of them heard of it, in milliseconds.
 * Arguments: port, session, VM, clients, rounds.
 */
public final class Waiters {
  private static final int PATIENCE_SECONDS = 120;

  /** Clients with one address. */
  private static final int EACH = 250;

  private Waiters() {}

  public static void main(String[] arguments) throws Exception {
    int port = Integer.parseInt(arguments[0]);
    String session = arguments[1];
    String vm = arguments[2];
    int clients = Integer.parseInt(arguments[3]);
    int rounds = Integer.parseInt(arguments[4]);
    AtomicReference<Exception> failure = new AtomicReference<>();
    double[][] quantiles = new double[3][rounds];
    List<Connection> connections = new ArrayList<>();
    try (Connection changing = new Connection(port)) {
      for (int i = 0; i < clients; i++) {
        connections.add(new Connection(port, 2 + i / EACH));
      }
      for (int round = 0; round < rounds; round++) {
        String token = now(changing, session);
        long[] heard = new long[clients];
        CountDownLatch done = new CountDownLatch(clients);
        Semaphore sent = new Semaphore(0);
        for (int i = 0; i < clients; i++) {
          int which = i;
          Thread.ofVirtual()
              .start(() -> {
                try {
                  byte[] request =
                      Connection.request(
                          Call.xml(
                              "event.from",
                              session,
                              Call.list("vm/" + vm),
                              token,
                              "<double>60.0</double>"));
                  sent.release();
                  connections.get(which).skip(request);
                  heard[which] = System.nanoTime();
                } catch (IOException e) {
                  failure.set(e);
                } finally {
                  done.countDown();
                }
              });
        }
        sent.acquire(clients);
        // They are on their way; a call that is answered after all of them tells nothing, so wait
        // until the server rests.
        Thread.sleep(200 + clients);
        long before = System.nanoTime();
        Call.on(changing, "VM.set_name_description", session, vm, "round " + round);
        if (!done.await(PATIENCE_SECONDS, TimeUnit.SECONDS)) {
          throw new IOException("a client is never told");
        }
        Arrays.sort(heard);
        quantiles[0][round] = (heard[0] - before) / 1e6;
        quantiles[1][round] = (heard[clients / 2] - before) / 1e6;
        quantiles[2][round] = (heard[clients - 1] - before) / 1e6;
      }
    } finally {
      for (Connection connection : connections) {
        connection.close();
      }
    }
    if (failure.get() != null) {
      System.out.println("failed " + failure.get());
      System.exit(1);
    }
    for (double[] figures : quantiles) {
      Arrays.sort(figures);
    }
    System.out.printf(
        Locale.ROOT,
        "%f %f %f%n",
        quantiles[0][rounds / 2],
        quantiles[1][rounds / 2],
        quantiles[2][rounds / 2]);
  }

  private static String now(Connection connection, String session) throws IOException {
    return Call.token(
        Call.on(
            connection, "event.from", session, Call.list("session"), "", "<double>0.0</double>"));
  }
}
