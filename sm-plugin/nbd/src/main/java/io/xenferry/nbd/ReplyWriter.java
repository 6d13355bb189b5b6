package io.xenferry.nbd;

import static io.xenferry.nbd.NbdProtocol.*;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.Semaphore;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Writes the replies of one session, in the order in which they come. The session's limit of
 * requests in flight bounds the queue. After the end, buffers and permits still go back.
 */
final class ReplyWriter {
  private static final Logger LOG = LoggerFactory.getLogger(ReplyWriter.class);

  private final ServerSession session;
  private final BufferPool buffers;
  private final LinkedBlockingQueue<Item> queue = new LinkedBlockingQueue<>();
  private final Object gate = new Object();
  private boolean stopped;
  private @Nullable Thread thread;
  private boolean structured;
  private volatile long writingSince;

  /** What a request is answered with. */
  sealed interface Reply {
    long cookie();
  }

  record Done(long cookie) implements Reply {}

  record Failure(long cookie, boolean chunk, int error, String text) implements Reply {}

  record Content(long cookie, long offset, ByteBuffer content) implements Reply {}

  record Hole(long cookie, long offset, int length) implements Reply {}

  record Status(long cookie, List<StatusChunk> chunks) implements Reply {}

  record StatusChunk(int context, List<StatusExtent> extents) {}

  private record Item(Reply reply, Optional<ByteBuffer> buffer, Semaphore permit) {}

  ReplyWriter(ServerSession session, BufferPool buffers) {
    this.session = session;
    this.buffers = buffers;
  }

  void start(NbdChannel channel, boolean structuredReplies) {
    structured = structuredReplies;
    thread = Thread.ofPlatform().daemon().name("nbd-reply").start(() -> run(channel));
  }

  /** Sends the reply, then gives buffer and permit back. Any thread; does not block. */
  void add(Reply reply, Optional<ByteBuffer> buffer, Semaphore permit) {
    Item item = new Item(reply, buffer, permit);
    synchronized (gate) {
      if (!stopped) {
        queue.add(item);
        return;
      }
    }
    release(item);
  }

  /** Ends the writing; what is queued is dropped. */
  void stop() {
    List<Item> left = new ArrayList<>();
    synchronized (gate) {
      stopped = true;
      queue.drainTo(left);
    }
    left.forEach(this::release);
    Thread t = thread;
    if (t != null) {
      t.interrupt();
    }
  }

  /** Whether one write to the client has taken longer. */
  boolean stalledFor(Duration limit) {
    long since = writingSince;
    return since != 0 && System.nanoTime() - since > limit.toNanos();
  }

  private void run(NbdChannel channel) {
    try {
      while (true) {
        Item item = queue.take();
        try {
          writingSince = System.nanoTime() | 1;
          write(channel, item.reply);
          writingSince = 0;
        } finally {
          release(item);
        }
      }
    } catch (InterruptedException e) {
      LOG.trace("the session ended");
    } catch (IOException e) {
      LOG.debug("a client took no reply: {}", e.toString());
    } catch (RuntimeException | Error e) {
      LOG.error("cannot write a reply", e);
    } finally {
      session.disconnect();
      stop();
    }
  }

  private void release(Item item) {
    item.buffer.ifPresent(buffers::give);
    item.permit.release();
  }

  private void write(NbdChannel channel, Reply reply) throws IOException {
    switch (reply) {
      case Done(long cookie) -> simple(channel, cookie, 0);
      case Failure f -> {
        if (structured && f.chunk) {
          byte[] text = f.text.getBytes(StandardCharsets.UTF_8);
          int length = Math.min(text.length, 1024);
          ByteBuffer frame = chunk(channel, CHUNK_DONE, CHUNK_ERROR, f.cookie, 6 + length);
          frame.putInt(f.error).putShort((short) length).put(text, 0, length);
          channel.send();
        } else {
          simple(channel, f.cookie, f.error);
        }
      }
      case Content c -> {
        if (!structured) {
          channel.frame().putInt(SIMPLE_REPLY_MAGIC).putInt(0).putLong(c.cookie);
          channel.send(c.content);
        } else if (c.content.hasRemaining()) {
          int length = 8 + c.content.remaining();
          chunk(channel, CHUNK_DONE, CHUNK_OFFSET_DATA, c.cookie, length).putLong(c.offset);
          channel.send(c.content);
        } else {
          chunk(channel, CHUNK_DONE, CHUNK_NONE, c.cookie, 0);
          channel.send();
        }
      }
      case Hole h -> {
        chunk(channel, CHUNK_DONE, CHUNK_OFFSET_HOLE, h.cookie, 12)
            .putLong(h.offset)
            .putInt(h.length);
        channel.send();
      }
      case Status s -> {
        for (int i = 0; i < s.chunks.size(); i++) {
          StatusChunk c = s.chunks.get(i);
          int flags = i == s.chunks.size() - 1 ? CHUNK_DONE : 0;
          int length = 4 + 8 * c.extents.size();
          chunk(channel, flags, CHUNK_BLOCK_STATUS, s.cookie, length).putInt(c.context);
          ByteBuffer extents = ByteBuffer.allocate(8 * c.extents.size());
          c.extents.forEach(e -> extents.putInt((int) e.length()).putInt(e.flags()));
          channel.send(extents.flip());
        }
      }
    }
  }

  private static void simple(NbdChannel channel, long cookie, int error) throws IOException {
    channel.frame().putInt(SIMPLE_REPLY_MAGIC).putInt(error).putLong(cookie);
    channel.send();
  }

  private static ByteBuffer chunk(
      NbdChannel channel, int flags, int type, long cookie, int length) {
    return channel
        .frame()
        .putInt(STRUCTURED_REPLY_MAGIC)
        .putShort((short) flags)
        .putShort((short) type)
        .putLong(cookie)
        .putInt(length);
  }
}
