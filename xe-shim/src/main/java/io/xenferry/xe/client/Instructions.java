package io.xenferry.xe.client;

import io.xenferry.xe.protocol.Message;
import io.xenferry.xe.protocol.MessageCodec;
import io.xenferry.xe.protocol.ProtocolException;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;

/** Obeys the server's instructions, one after the other, until Exit. */
final class Instructions implements Transfers.Replies {
  /** The longest instruction, in bytes: a list of some ten thousand VMs in one Print. */
  private static final int MESSAGE_LIMIT = 64 << 20;

  private static final int LINE_LIMIT = 1 << 20;

  private final InputStream in;
  private final OutputStream out;
  private final boolean heartbeats;
  private final Streams streams;
  private final Trace trace;

  /** The three standard streams. */
  record Streams(InputStream in, OutputStream out, OutputStream err) {
    void print(String text) throws IOException {
      out.write((text + "\n").getBytes(StandardCharsets.UTF_8));
      out.flush();
    }

    void complain(String text) throws IOException {
      err.write(text.getBytes(StandardCharsets.UTF_8));
      err.flush();
    }
  }

  Instructions(InputStream in, OutputStream out, boolean heartbeats, Streams streams, Trace trace) {
    this.in = in;
    this.out = out;
    this.heartbeats = heartbeats;
    this.streams = streams;
    this.trace = trace;
  }

  /** Obeys until the end; the result is the status to end with. */
  int obey(FileGuard guard, Transfers transfers) throws IOException, ClientException {
    while (true) {
      Message message = next();
      switch (message) {
        case Message.Print m -> streams.print(m.text());
        case Message.PrintStderr m -> streams.complain(m.text());
        case Message.Debug m -> trace.line(m.text());
        case Message.ShowError m ->
            streams.complain(
                "Error code: %s\nError parameters: %s\n"
                    .formatted(m.code(), String.join(", ", m.params())));
        case Message.Exit m -> {
          return m.code();
        }
        case Message.Prompt m -> answer();
        case Message.Load m -> load(guard.permitted(m.file()));
        case Message.HttpGet m -> transfers.get(m);
        case Message.HttpPut m -> transfers.put(m);
        case Message.HttpConnect m -> transfers.connect(m);
        case Message.Response m -> throw ClientException.failed("Unexpected message from server");
        case Message.Blob m -> throw ClientException.failed("Unexpected message from server");
      }
    }
  }

  private Message next() throws IOException, ClientException {
    try {
      return MessageCodec.read(in, MESSAGE_LIMIT);
    } catch (ProtocolException e) {
      throw ClientException.failed("The server sent something unexpected: " + e.getMessage());
    } catch (IOException e) {
      throw ClientException.failed("Lost connection to the server.");
    }
  }

  private void answer() throws IOException, ClientException {
    Optional<byte[]> line = line();
    if (line.isEmpty()) {
      throw ClientException.failed("Lost connection to the server.");
    }
    MessageCodec.write(out, new Message.Chunk(line.get().length));
    out.write(line.get());
    send(new Message.End());
  }

  private Optional<byte[]> line() throws IOException {
    ByteArrayOutputStream line = new ByteArrayOutputStream();
    for (int b = streams.in().read(); b != '\n'; b = streams.in().read()) {
      if (b < 0) {
        return line.size() == 0 ? Optional.empty() : Optional.of(line.toByteArray());
      }
      if (line.size() == LINE_LIMIT) {
        throw new IOException("the answer is too long");
      }
      line.write(b);
    }
    return Optional.of(line.toByteArray());
  }

  private void load(Path file) throws IOException {
    long size;
    InputStream content;
    try {
      size = Files.size(file);
      content = Files.newInputStream(file);
    } catch (IOException e) {
      send(new Message.Failed());
      return;
    }
    try (content) {
      if (size > Integer.MAX_VALUE) {
        send(new Message.Failed());
        return;
      }
      MessageCodec.write(out, new Message.Ok());
      MessageCodec.write(out, new Message.Chunk((int) size));
      byte[] buffer = new byte[65_536];
      for (long left = size; left > 0; ) {
        int n = content.read(buffer, 0, (int) Math.min(left, buffer.length));
        if (n < 0) {
          throw new EOFException("the file became shorter while it was sent");
        }
        out.write(buffer, 0, n);
        left -= n;
      }
      send(new Message.End());
    }
  }

  @Override
  public void send(Message message) throws IOException {
    MessageCodec.write(out, message);
    out.flush();
  }

  @Override
  public boolean heartbeats() {
    return heartbeats;
  }
}
