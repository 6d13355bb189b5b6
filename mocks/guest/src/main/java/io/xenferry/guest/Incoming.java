package io.xenferry.guest;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedInputStream;
import java.io.DataInputStream;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.Channels;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.zip.CRC32C;

/** Receives a memory stream; as in QEMU the process ends when that fails. */
final class Incoming {
  private final Machine machine;
  private final MigrationSettings settings;
  private final ServerSocketChannel listener;
  private volatile String status = "setup";

  Incoming(Machine machine, MigrationSettings settings, Path socket) throws IOException {
    this.machine = machine;
    this.settings = settings;
    Files.deleteIfExists(socket);
    listener = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
    listener.bind(UnixDomainSocketAddress.of(socket));
  }

  void start() {
    Thread.ofPlatform().daemon().name("incoming").start(this::receive);
    machine.tell("MIGRATION", QmpServer.object().put("status", status));
  }

  ObjectNode query() {
    return QmpServer.object().put("status", status);
  }

  private void enter(String next) {
    status = next;
    machine.tell("MIGRATION", QmpServer.object().put("status", next));
  }

  private void receive() {
    try (listener;
        SocketChannel channel = listener.accept()) {
      listener.close();
      enter("active");
      machine.faults.dieAt("incoming");
      receive(
          new DataInputStream(new BufferedInputStream(Channels.newInputStream(channel), 65536)));
      if (!settings.lateBlockActivate()) {
        machine.activateAsReceived();
      }
      machine.stop(RunState.PAUSED);
      enter("completed");
      machine.faults.dieAt("received");
    } catch (IOException | RuntimeException e) {
      System.err.println("load of migration failed: " + e);
      Runtime.getRuntime().halt(1);
    }
  }

  private void receive(DataInputStream in) throws IOException {
    if (in.readInt() != MemoryStream.MAGIC || in.readInt() != machine.memory.count()) {
      throw new IOException("not the memory of a guest like this");
    }
    byte[] page = new byte[GuestMemory.PAGE];
    while (true) {
      int what = in.readUnsignedByte();
      if (what == MemoryStream.STATE_FOLLOWS) {
        break;
      }
      if (what != MemoryStream.PAGE_FOLLOWS) {
        throw new IOException("neither page nor state");
      }
      int index = in.readInt();
      in.readFully(page);
      machine.memory.put(index, page);
    }
    int length = in.readInt();
    if (length < 0 || length > MemoryStream.STATE_LIMIT) {
      throw new IOException("a state of " + length + " bytes");
    }
    byte[] state = new byte[length];
    in.readFully(state);
    CRC32C crc = new CRC32C();
    crc.update(state);
    if ((int) crc.getValue() != in.readInt()) {
      throw new IOException("the state arrived damaged");
    }
    if (in.read() >= 0) {
      throw new IOException("something comes behind the state");
    }
    machine.memory.verify();
    JsonNode saved = new ObjectMapper().readTree(state);
    machine.loadState(saved);
  }
}
