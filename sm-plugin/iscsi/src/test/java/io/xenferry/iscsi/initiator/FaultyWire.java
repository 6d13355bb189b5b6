package io.xenferry.iscsi.initiator;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.IntUnaryOperator;

/** A TCP relay to a target that goes silent, breaks, or lies, on the first connection only. */
final class FaultyWire implements AutoCloseable {
  /** What happens to the bytes from the target. */
  enum Fault {
    SILENCE,
    CUT,
    JUNK
  }

  private final ServerSocket server;
  private final IntUnaryOperator target;
  private final Fault fault;
  private volatile long faultAfter;
  private final List<Socket> sockets = new CopyOnWriteArrayList<>();
  private volatile int connections;
  private volatile byte[] lastFromClient = {};
  private final AtomicLong passed = new AtomicLong();
  private final List<AtomicLong> fromClient = new CopyOnWriteArrayList<>();

  /**
   * @param faultAfter bytes of the target's that pass before the fault
   */
  FaultyWire(int target, Fault fault, long faultAfter) throws IOException {
    this(connection -> target, fault, faultAfter);
  }

  /** A relay without faults but those that are asked for later. */
  static FaultyWire sound(int target) throws IOException {
    return new FaultyWire(target, Fault.CUT, Long.MAX_VALUE / 4);
  }

  /**
   * @param target the port that each connection goes to, counted from 0
   */
  FaultyWire(IntUnaryOperator target, Fault fault, long faultAfter) throws IOException {
    this.target = target;
    this.fault = fault;
    this.faultAfter = faultAfter;
    server = new ServerSocket(0, 50, InetAddress.getByName("127.0.0.1"));
    Thread.ofVirtual().start(this::accept);
  }

  int port() {
    return server.getLocalPort();
  }

  int connections() {
    return connections;
  }

  /** Bytes that the client of a connection, counted from 0, has sent. */
  long fromClient(int connection) {
    return fromClient.get(connection).get();
  }

  /** Bytes of the target's that reached the clients. */
  long passed() {
    return passed.get();
  }

  /** From now on. */
  void faultNow() {
    faultAfter = 0;
  }

  /** Sends bytes to the client as if the target had; to be called while nothing else is said. */
  void inject(byte[] bytes) throws IOException {
    sockets.getFirst().getOutputStream().write(bytes);
  }

  /** What the first client sent last. */
  byte[] lastFromClient() {
    return lastFromClient;
  }

  /** Cuts one connection, counted from 0. */
  void cut(int connection) throws IOException {
    sockets.get(2 * connection).close();
    sockets.get(2 * connection + 1).close();
  }

  void cut() throws IOException {
    for (Socket socket : sockets) {
      socket.close();
    }
  }

  private void accept() {
    try {
      while (true) {
        Socket client = server.accept();
        int number = connections;
        Socket upstream = new Socket("127.0.0.1", target.applyAsInt(number));
        sockets.add(client);
        sockets.add(upstream);
        AtomicLong sent = new AtomicLong();
        fromClient.add(sent);
        connections++;
        boolean faulty = number == 0;
        Thread.ofVirtual().start(() -> copy(client, upstream, false, sent));
        Thread.ofVirtual().start(() -> copy(upstream, client, faulty, passed));
      }
    } catch (IOException e) {
      // Closed.
    }
  }

  private void copy(Socket from, Socket to, boolean faulty, AtomicLong count) {
    byte[] buffer = new byte[65536];
    long passed = 0;
    try {
      InputStream in = from.getInputStream();
      OutputStream out = to.getOutputStream();
      for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
        if (faulty && passed + n > faultAfter) {
          int good = (int) Math.max(0, faultAfter - passed);
          out.write(buffer, 0, good);
          passed = Long.MAX_VALUE / 2;
          switch (fault) {
            case SILENCE -> in.transferTo(OutputStream.nullOutputStream());
            case CUT -> {}
            case JUNK -> {
              java.util.Random random = new java.util.Random(good);
              byte[] junk = new byte[4096];
              for (int i = 0; i < 64; i++) {
                random.nextBytes(junk);
                out.write(junk);
              }
            }
          }
          break;
        }
        out.write(buffer, 0, n);
        passed += n;
        count.addAndGet(n);
        if (from == sockets.getFirst()) {
          lastFromClient = Arrays.copyOf(buffer, n);
        }
      }
    } catch (IOException e) {
      // The other end is closed below.
    }
    if (!(faulty && fault == Fault.SILENCE)) {
      try {
        to.close();
        from.close();
      } catch (IOException e) {
        // Closed is closed.
      }
    }
  }

  @Override
  public void close() throws IOException {
    server.close();
    cut();
  }
}
