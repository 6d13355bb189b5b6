package io.xenferry.xe.client;

import io.xenferry.xe.protocol.Message;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Optional;
import java.util.Set;
import java.util.function.LongSupplier;

/** Carries out HttpGet, HttpPut and HttpConnect, with heartbeats to the server while bytes flow. */
final class Transfers {
  /** The server may give up on a client that is silent for longer; in nanoseconds. */
  static final long HEARTBEAT_NANOS = 300_000_000_000L;

  private static final int ESCAPE = 0x1d;

  private final Transport transport;
  private final FileGuard guard;
  private final Replies replies;
  private final InputStream stdin;
  private final OutputStream stdout;
  private final LongSupplier clock;
  private long lastBeat;

  /** Where answers to the server go; used from one thread at a time. */
  interface Replies {
    void send(Message message) throws IOException;

    boolean heartbeats();
  }

  Transfers(
      Transport transport,
      FileGuard guard,
      Replies replies,
      InputStream stdin,
      OutputStream stdout,
      LongSupplier clock) {
    this.transport = transport;
    this.guard = guard;
    this.replies = replies;
    this.stdin = stdin;
    this.stdout = stdout;
    this.clock = clock;
    this.lastBeat = clock.getAsLong();
  }

  void get(Message.HttpGet order) throws IOException, ClientException {
    Optional<Path> file =
        order.file().isEmpty() ? Optional.empty() : Optional.of(guard.permitted(order.file()));
    try (OutputStream sink = file.isPresent() ? create(file.get()) : unclosed(stdout)) {
      int[] status = new int[1];
      Optional<HttpExchange.Accepted> accepted =
          HttpExchange.open(transport, "GET", order.url(), "", status);
      if (accepted.isEmpty()) {
        replies.send(new Message.Failed());
        return;
      }
      try (Transport.Connection c = accepted.get().connection()) {
        copy(accepted.get().body(), sink);
      }
      sink.flush();
    } catch (FileAlreadyExistsException e) {
      throw refused("the file exists already: " + order.file());
    } catch (NoSuchFileException e) {
      throw refused("the file cannot be created: " + order.file());
    }
    replies.send(new Message.Ok());
  }

  void put(Message.HttpPut order) throws IOException, ClientException {
    Path file = guard.permitted(order.file());
    try (InputStream source = Files.newInputStream(file)) {
      String headers =
          Files.isRegularFile(file) ? "Content-length: " + Files.size(file) + "\r\n" : "";
      int[] status = new int[1];
      Optional<HttpExchange.Accepted> accepted =
          HttpExchange.open(transport, "PUT", order.url(), headers, status);
      if (accepted.isEmpty()) {
        replies.send(new Message.Failed());
        return;
      }
      try (Transport.Connection c = accepted.get().connection()) {
        copy(source, c.out());
        c.out().flush();
      }
    } catch (NoSuchFileException | FileNotFoundException e) {
      throw refused("there is no such file: " + order.file());
    }
    replies.send(new Message.Ok());
  }

  void connect(Message.HttpConnect order) throws IOException, ClientException {
    try {
      Terminal.require();
    } catch (ClientException e) {
      replies.send(new Message.Failed());
      throw e;
    }
    int[] status = new int[1];
    Optional<HttpExchange.Accepted> accepted =
        HttpExchange.open(transport, "CONNECT", order.url(), "content-length: 0\r\n", status);
    if (accepted.isEmpty()) {
      stdout.write(
          (status[0] == 404 ? "This console is not available.\n" : "The console refused.\n")
              .getBytes(java.nio.charset.StandardCharsets.UTF_8));
      stdout.flush();
      replies.send(new Message.Failed());
      return;
    }
    try (Transport.Connection c = accepted.get().connection();
        Terminal raw = Terminal.raw()) {
      Thread out = Thread.ofVirtual().start(() -> showUntilEnd(accepted.get().body()));
      int key;
      while (out.isAlive() && (key = keyOrEnd(out)) >= 0 && key != ESCAPE) {
        c.out().write(key);
        c.out().flush();
        beat();
      }
    }
    replies.send(new Message.Ok());
  }

  /** The next key, or −1 once the server closed or the input ended. */
  private int keyOrEnd(Thread out) throws IOException {
    while (stdin.available() == 0) {
      try {
        if (out.join(java.time.Duration.ofMillis(20))) {
          return -1;
        }
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        return -1;
      }
      beat();
    }
    return stdin.read();
  }

  private void showUntilEnd(InputStream in) {
    byte[] buffer = new byte[4096];
    try {
      for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
        stdout.write(buffer, 0, n);
        stdout.flush();
      }
    } catch (IOException e) {
      // The connection is gone: the console ends as at its end of file.
    }
  }

  private ClientException refused(String why) throws IOException {
    replies.send(new Message.Failed());
    return ClientException.failed("Operation failed. Error: " + why);
  }

  private static OutputStream create(Path file) throws IOException {
    return Channels.newOutputStream(
        FileChannel.open(
            file,
            Set.of(StandardOpenOption.WRITE, StandardOpenOption.CREATE_NEW),
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------"))));
  }

  private static OutputStream unclosed(OutputStream out) {
    return new java.io.FilterOutputStream(out) {
      @Override
      public void write(byte[] b, int off, int len) throws IOException {
        out.write(b, off, len);
      }

      @Override
      public void close() throws IOException {
        flush();
      }
    };
  }

  private void copy(InputStream from, OutputStream to) throws IOException {
    byte[] buffer = new byte[262_144];
    for (int n = from.read(buffer); n >= 0; n = from.read(buffer)) {
      to.write(buffer, 0, n);
      beat();
    }
  }

  private void beat() throws IOException {
    long now = clock.getAsLong();
    if (replies.heartbeats() && now - lastBeat >= HEARTBEAT_NANOS) {
      replies.send(new Message.Wait());
      lastBeat = now;
    }
  }
}
