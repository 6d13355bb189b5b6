package io.xenferry.bench;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;

/**
 * A link of this machine to itself that is as long and as narrow as one wants: connections to it
 * are passed on to a server, and what is sent comes out at the other end when it has gone through
 * the narrowest place, in its turn, and then all the way. Before that place no more queues up than
 * takes 50 ms to go through; whoever sends more has to wait.
 */
final class LongLink implements AutoCloseable {
  private static final int CHUNK = 64 << 10;
  private static final long QUEUE = TimeUnit.MILLISECONDS.toNanos(50);

  private final ServerSocket listener;
  private final int server;
  private final long oneWay;
  private final double bytesPerNano;
  private final List<Socket> sockets = new ArrayList<>();

  /** What was sent, and when it comes out; empty at the end. */
  private record Chunk(byte[] bytes, long due) {}

  /**
   * @param server a port of this machine
   * @param roundTrip milliseconds
   * @param bytesPerSecond each way
   */
  LongLink(int server, double roundTrip, long bytesPerSecond) throws IOException {
    this.server = server;
    this.oneWay = (long) (roundTrip / 2 * 1e6);
    this.bytesPerNano = bytesPerSecond / 1e9;
    this.listener = new ServerSocket(0, 16, InetAddress.getLoopbackAddress());
    Thread.ofPlatform().daemon().name("long link").start(this::accept);
  }

  int port() {
    return listener.getLocalPort();
  }

  private void accept() {
    Way there = new Way();
    Way back = new Way();
    try {
      while (true) {
        Socket client = listener.accept();
        Socket onward = new Socket(InetAddress.getLoopbackAddress(), server);
        for (Socket socket : List.of(client, onward)) {
          socket.setTcpNoDelay(true);
        }
        synchronized (sockets) {
          sockets.add(client);
          sockets.add(onward);
        }
        there.carry(client, onward);
        back.carry(onward, client);
      }
    } catch (IOException e) {
      // Closed.
    }
  }

  /** One direction, which all connections share. */
  private final class Way {
    private long free;

    private synchronized long through(int bytes, long now) {
      free = Math.max(now, free) + (long) (bytes / bytesPerNano);
      return free;
    }

    void carry(Socket from, Socket to) {
      BlockingQueue<Chunk> onTheWay = new LinkedBlockingQueue<>();
      Thread.ofPlatform().daemon().name("into the link").start(() -> take(from, onTheWay));
      Thread.ofPlatform().daemon().name("out of the link").start(() -> bring(onTheWay, to));
    }

    private void take(Socket from, BlockingQueue<Chunk> onTheWay) {
      byte[] buffer = new byte[CHUNK];
      try {
        InputStream in = from.getInputStream();
        for (int count = in.read(buffer); count >= 0; count = in.read(buffer)) {
          long now = System.nanoTime();
          long gone = through(count, now);
          onTheWay.add(new Chunk(Arrays.copyOf(buffer, count), gone + oneWay));
          waitUntil(gone - QUEUE);
        }
      } catch (IOException e) {
        // The other end hears of the end.
      }
      onTheWay.add(new Chunk(new byte[0], System.nanoTime() + oneWay));
    }

    private void bring(BlockingQueue<Chunk> onTheWay, Socket to) {
      try {
        OutputStream out = to.getOutputStream();
        for (Chunk chunk = onTheWay.take(); chunk.bytes.length > 0; chunk = onTheWay.take()) {
          waitUntil(chunk.due);
          out.write(chunk.bytes);
        }
        to.shutdownOutput();
      } catch (IOException e) {
        // Whoever sent hears of it from its own connection.
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
    }
  }

  private static void waitUntil(long due) {
    for (long left = due - System.nanoTime(); left > 0; left = due - System.nanoTime()) {
      LockSupport.parkNanos(left);
    }
  }

  @Override
  public void close() throws IOException {
    listener.close();
    synchronized (sockets) {
      for (Socket socket : sockets) {
        socket.close();
      }
    }
  }
}
