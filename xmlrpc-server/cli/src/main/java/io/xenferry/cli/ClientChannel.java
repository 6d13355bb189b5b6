package io.xenferry.cli;

import io.xenferry.xe.protocol.Greeting;
import io.xenferry.xe.protocol.Message;
import io.xenferry.xe.protocol.MessageCodec;
import io.xenferry.xe.protocol.ProtocolException;
import java.io.ByteArrayOutputStream;
import java.io.Closeable;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Optional;

/**
 * The client at the other end of the connection. Every exchange has a deadline: when it passes, the
 * connection is closed.
 */
final class ClientChannel {
  /** Deadlines of the exchanges with a client. */
  record Deadlines(Duration greeting, Duration write, Duration answer, Duration transfer) {
    /**
     * A greeting is one round trip. A person answers a question within ten minutes. A client that
     * transfers a file sends a heartbeat every five, so that ten without one mean that it is gone.
     */
    static final Deadlines DEFAULT =
        new Deadlines(
            Duration.ofSeconds(30),
            Duration.ofSeconds(60),
            Duration.ofMinutes(10),
            Duration.ofMinutes(10));
  }

  /** Responses and headers of blobs have 8 or 12 bytes. */
  private static final int MESSAGE_LIMIT = 64;

  private static final int ANSWER_LIMIT = 4096;

  /** As the published server: the most that one file sent with Load may hold, in bytes. */
  static final int LOAD_LIMIT = 33_554_432;

  private final InputStream in;
  private final OutputStream out;
  private final Closeable connection;
  private final Deadlines deadlines;

  ClientChannel(InputStream in, OutputStream out, Closeable connection, Deadlines deadlines) {
    this.in = in;
    this.out = out;
    this.connection = connection;
    this.deadlines = deadlines;
  }

  /** Exchanges greetings. */
  void greet() throws IOException {
    write(Greeting.OURS::write);
    Greeting client;
    try (Watchdog watchdog = new Watchdog(deadlines.greeting(), connection)) {
      client = watchdog.guard(() -> Greeting.read(in));
    }
    if (!Greeting.OURS.accepts(client)) {
      throw new ProtocolException("the client speaks version " + client);
    }
  }

  private interface Writing {
    void to(OutputStream out) throws IOException;
  }

  private void write(Writing writing) throws IOException {
    try (Watchdog watchdog = new Watchdog(deadlines.write(), connection)) {
      watchdog.guard(() -> {
        writing.to(out);
        out.flush();
        return true;
      });
    }
  }

  void send(Message message) throws IOException {
    write(o -> MessageCodec.write(o, message));
  }

  void print(String text) throws IOException {
    send(new Message.Print(text));
  }

  void stderr(String text) throws IOException {
    send(new Message.PrintStderr(text));
  }

  /** Asks for one line. */
  String prompt() throws IOException {
    send(new Message.Prompt());
    return new String(blob(ANSWER_LIMIT, deadlines.answer()), StandardCharsets.UTF_8);
  }

  /** Fetches the content of the client's file; nothing when the client cannot read it. */
  Optional<byte[]> load(String file) throws IOException {
    send(new Message.Load(file));
    return response(deadlines.answer())
        ? Optional.of(blob(LOAD_LIMIT, deadlines.transfer()))
        : Optional.empty();
  }

  /**
   * Lets the client's terminal talk to a path of this server.
   *
   * @return whether the client did; it says so when the user ends it
   */
  boolean connect(String path) throws IOException {
    send(new Message.HttpConnect(path));
    return response(deadlines.transfer());
  }

  /**
   * Lets the client fetch a path of this server into a file of its own.
   *
   * @return whether it did
   */
  boolean get(String file, String path) throws IOException {
    send(new Message.HttpGet(file, path));
    return response(deadlines.transfer());
  }

  /**
   * Lets the client send a file of its own to a path of this server.
   *
   * @return whether it did
   */
  boolean put(String file, String path) throws IOException {
    send(new Message.HttpPut(file, path));
    return response(deadlines.transfer());
  }

  /** Waits for OK or Failed, and passes over heartbeats. */
  private boolean response(Duration deadline) throws IOException {
    while (true) {
      Message message = read(deadline);
      switch (message) {
        case Message.Ok m -> {
          return true;
        }
        case Message.Failed m -> {
          return false;
        }
        case Message.Wait m -> {}
        case Message.Blob m -> throw new ProtocolException("a blob in place of a response");
        case Message.Command m -> throw new ProtocolException("a command from the client");
      }
    }
  }

  private Message read(Duration deadline) throws IOException {
    try (Watchdog watchdog = new Watchdog(deadline, connection)) {
      return watchdog.guard(() -> MessageCodec.read(in, MESSAGE_LIMIT));
    }
  }

  private byte[] blob(int limit, Duration deadline) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    while (true) {
      Message message = read(deadline);
      if (message instanceof Message.End) {
        return bytes.toByteArray();
      }
      if (!(message instanceof Message.Chunk chunk)) {
        throw new ProtocolException("something else than a part of a blob");
      }
      if (chunk.length() > limit - bytes.size()) {
        throw new ProtocolException("a blob of more than " + limit + " bytes");
      }
      readChunk(chunk.length(), bytes, deadline);
    }
  }

  private void readChunk(int length, ByteArrayOutputStream bytes, Duration deadline)
      throws IOException {
    for (int left = length; left > 0; ) {
      int part = Math.min(left, 65_536);
      byte[] read;
      try (Watchdog watchdog = new Watchdog(deadline, connection)) {
        read = watchdog.guard(() -> in.readNBytes(part));
      }
      if (read.length < part) {
        throw new EOFException("the connection ended within a blob");
      }
      bytes.writeBytes(read);
      left -= part;
    }
  }
}
