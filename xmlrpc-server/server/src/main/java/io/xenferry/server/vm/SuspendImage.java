package io.xenferry.server.vm;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.xenferry.block.BlockBackend;
import io.xenferry.spi.GuestSpec;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashSet;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.zip.CRC32C;

/**
 * A guest's memory on a disk. The first 64 KiB are the head: the letters {@code XFSUSP01}, or
 * {@code XFSUSP02} where a server that knows no options of machines must leave it alone, the length
 * of the stream behind it, the CRC-32C of the stream, the length of some JSON that names the
 * guest's devices, the JSON, and the CRC-32C of all that. The head is written last, once the stream
 * is on the disk: a disk with a head that is right has all of the stream.
 */
final class SuspendImage {
  static final int HEAD = 64 << 10;

  private static final long MAGIC = 0x5846535553503031L;
  private static final long MAGIC_WITH_OPTIONS = 0x5846535553503032L;
  private static final int CHUNK = 1 << 20;
  private static final ObjectMapper JSON = new ObjectMapper();

  private SuspendImage() {}

  /**
   * What the guest had when it was suspended; it must have the same when it goes on.
   *
   * @param devices names of disks, drives and network cards
   * @param machine that it had; empty in images of a server that did not note it yet
   */
  record Shape(Set<String> devices, int vcpus, long memory, Optional<BuiltMachine> machine) {
    static Shape of(GuestSpec spec) {
      Set<String> devices = new LinkedHashSet<>();
      spec.disks().forEach(disk -> devices.add(disk.device()));
      spec.drives().forEach(drive -> devices.add(drive.device()));
      spec.nics().forEach(nic -> devices.add("vif" + nic.device()));
      return new Shape(
          devices,
          spec.vcpus().present(),
          spec.memory().target(),
          Optional.of(BuiltMachine.of(spec)));
    }

    /**
     * The spec without what the guest did not have.
     *
     * @param spec on the machine that it had
     * @throws IOException when something is missing that it had
     */
    GuestSpec applyTo(GuestSpec spec) throws IOException {
      GuestSpec fitting =
          spec.with(
                  spec.disks().stream().filter(d -> devices.contains(d.device())).toList(),
                  spec.drives().stream().filter(d -> devices.contains(d.device())).toList(),
                  spec.nics().stream().filter(n -> devices.contains("vif" + n.device())).toList())
              .with(
                  spec.vcpus().with(vcpus), new GuestSpec.Memory(spec.memory().maximum(), memory));
      if (!of(fitting).devices().equals(devices)) {
        throw new IOException(
            "the guest had "
                + devices
                + " when it was suspended, and the VM has "
                + of(spec).devices());
      }
      return fitting;
    }
  }

  /**
   * Writes all of a stream, and then the head.
   *
   * @throws IOException when the disk is too small, or fails
   */
  static void write(BlockBackend disk, InputStream stream, Shape shape) throws IOException {
    CRC32C crc = new CRC32C();
    ByteBuffer chunk = ByteBuffer.allocate(CHUNK);
    long length = 0;
    while (true) {
      int n = stream.readNBytes(chunk.array(), 0, CHUNK);
      if (n == 0) {
        break;
      }
      crc.update(chunk.array(), 0, n);
      if (HEAD + length + n > disk.size()) {
        throw new IOException("the guest's memory does not fit into " + disk.size() + " bytes");
      }
      await(disk.write(HEAD + length, chunk.clear().limit(n)));
      length += n;
    }
    await(disk.flush());
    await(disk.write(0, head(shape, length, crc.getValue())));
    await(disk.flush());
  }

  private static ByteBuffer head(Shape shape, long length, long streamCrc) throws IOException {
    ObjectNode json = JSON.createObjectNode();
    json.put("vcpus", shape.vcpus()).put("memory", shape.memory());
    shape.machine().ifPresent(machine -> json.set("machine", machine.json()));
    ArrayNode devices = json.putArray("devices");
    shape.devices().forEach(devices::add);
    byte[] text = JSON.writeValueAsBytes(json);
    ByteBuffer head = ByteBuffer.allocate(HEAD);
    boolean usual = shape.machine().map(BuiltMachine::isUsual).orElse(true);
    head.putLong(usual ? MAGIC : MAGIC_WITH_OPTIONS);
    head.putLong(length).putInt((int) streamCrc).putInt(text.length).put(text);
    head.putInt((int) crcOf(head, head.position()));
    return head.clear();
  }

  private static long crcOf(ByteBuffer head, int length) {
    CRC32C crc = new CRC32C();
    crc.update(head.array(), 0, length);
    return crc.getValue();
  }

  /** An image whose head is right. */
  record Opened(BlockBackend disk, Shape shape, long length, int crc) {

    /** Reads all of the stream once, so that a damaged one never gets to a guest. */
    void verify() throws IOException {
      CRC32C sum = new CRC32C();
      pass(chunk -> sum.update(chunk));
      if ((int) sum.getValue() != crc) {
        throw new IOException("the guest's memory is damaged: its checksum is wrong");
      }
    }

    void copyTo(OutputStream out) throws IOException {
      pass(chunk -> out.write(chunk.array(), 0, chunk.limit()));
      out.flush();
    }

    /** Takes the next part. */
    private interface Taker {
      void take(ByteBuffer chunk) throws IOException;
    }

    private void pass(Taker taker) throws IOException {
      ByteBuffer chunk = ByteBuffer.allocate(CHUNK);
      for (long done = 0; done < length; done += chunk.limit()) {
        chunk.clear().limit((int) Math.min(CHUNK, length - done));
        await(disk.read(HEAD + done, chunk));
        taker.take(chunk.rewind());
      }
    }
  }

  /**
   * @throws IOException when it is no such image, or not a whole one
   */
  static Opened open(BlockBackend disk) throws IOException {
    ByteBuffer head = ByteBuffer.allocate(HEAD);
    if (disk.size() < HEAD) {
      throw new IOException("the disk is too small for a guest's memory");
    }
    await(disk.read(0, head));
    head.rewind();
    long magic = head.getLong();
    if (magic != MAGIC && magic != MAGIC_WITH_OPTIONS) {
      throw new IOException("there is no guest's memory on the disk, or only a part of it");
    }
    long length = head.getLong();
    int crc = head.getInt();
    int jsonLength = head.getInt();
    int jsonAt = head.position();
    if (jsonLength < 0
        || jsonLength > HEAD - jsonAt - 4
        || length < 0
        || length > disk.size() - HEAD
        || head.getInt(jsonAt + jsonLength) != (int) crcOf(head, jsonAt + jsonLength)) {
      throw new IOException("the head of the guest's memory is damaged");
    }
    JsonNode json =
        JSON.readTree(new String(head.array(), jsonAt, jsonLength, StandardCharsets.UTF_8));
    Set<String> devices = new LinkedHashSet<>();
    json.path("devices").forEach(device -> devices.add(device.asText()));
    Shape shape =
        new Shape(
            devices,
            json.path("vcpus").asInt(),
            json.path("memory").asLong(),
            machine(json.path("machine")));
    return new Opened(disk, shape, length, crc);
  }

  private static Optional<BuiltMachine> machine(JsonNode json) throws IOException {
    try {
      return BuiltMachine.read(json);
    } catch (IllegalArgumentException e) {
      throw new IOException("the guest had a machine that this server does not know", e);
    }
  }

  private static void await(CompletableFuture<?> done) throws IOException {
    try {
      done.get();
    } catch (ExecutionException e) {
      throw e.getCause() instanceof IOException io ? io : new IOException(e.getCause());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new java.io.InterruptedIOException();
    }
  }
}
