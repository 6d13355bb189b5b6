package io.xenferry.server.vm;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.xenferry.block.BlockBackend;
import io.xenferry.spi.GuestSpec;
import io.xenferry.spi.GuestSpec.Machine;
import io.xenferry.spi.MachineOptions;
import java.io.IOException;
import java.util.Optional;

/**
 * The machine of a guest that has started, apart from its devices. It is taken from the guest
 * itself and goes where its memory goes, into a suspend image or to another host: what the VM's
 * record says may have been changed since, and counts when the VM next starts.
 *
 * @param machine without an accelerator, which is each host's own
 */
public record BuiltMachine(Machine machine, int coresPerSocket) {
  private static final ObjectMapper JSON = new ObjectMapper();

  private static final String TYPE = "type";
  private static final String CPU = "cpu";
  private static final String LAYOUT = "layout";
  private static final String SERIAL_PORTS = "serial_ports";
  private static final String CORES = "cores_per_socket";
  private static final String OPTIONS = "options";

  public BuiltMachine {
    machine = on(machine, "");
  }

  /** That of a guest. */
  public static BuiltMachine of(GuestSpec spec) {
    return new BuiltMachine(spec.machine(), spec.vcpus().coresPerSocket());
  }

  /**
   * That of a suspended VM.
   *
   * @param image with its memory
   * @return empty for an image of a server that did not note it yet
   * @throws IOException when there is no guest's memory, or it cannot be read
   */
  public static Optional<BuiltMachine> of(BlockBackend image) throws IOException {
    return SuspendImage.open(image).shape().machine();
  }

  /** Whether a server that knows no options builds the same. */
  public boolean isUsual() {
    return machine.options().equals(MachineOptions.USUAL);
  }

  /**
   * @param accelerator of this host, or empty for what works here
   */
  public Machine withAccelerator(String accelerator) {
    return on(machine, accelerator);
  }

  private static Machine on(Machine machine, String accelerator) {
    return new Machine(
        machine.type(),
        machine.cpu(),
        machine.layout(),
        accelerator,
        machine.serialPorts(),
        machine.options());
  }

  public ObjectNode json() {
    return JSON.createObjectNode()
        .put(TYPE, machine.type())
        .put(CPU, machine.cpu())
        .put(LAYOUT, machine.layout())
        .put(SERIAL_PORTS, machine.serialPorts())
        .put(CORES, coresPerSocket)
        .put(OPTIONS, machine.options().text());
  }

  /**
   * @param json of {@link #json}; empty when it is none
   * @throws IllegalArgumentException for one that this server does not know how to build
   */
  public static Optional<BuiltMachine> read(JsonNode json) {
    return json.isObject()
        ? Optional.of(
            new BuiltMachine(
                new Machine(
                    json.path(TYPE).asText(),
                    json.path(CPU).asText(),
                    json.path(LAYOUT).asInt(1),
                    "",
                    json.path(SERIAL_PORTS).asInt(1),
                    MachineOptions.parse(json.path(OPTIONS).asText())),
                Math.max(1, json.path(CORES).asInt(1))))
        : Optional.empty();
  }

  /**
   * @param text of {@link #json}; empty for none
   * @throws IllegalArgumentException for what is none
   */
  static Optional<BuiltMachine> parse(String text) {
    try {
      return text.isEmpty() ? Optional.empty() : read(JSON.readTree(text));
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException("no machine: " + text, e);
    }
  }
}
