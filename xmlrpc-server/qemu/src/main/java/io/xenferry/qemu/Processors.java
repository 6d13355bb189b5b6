package io.xenferry.qemu;

import com.fasterxml.jackson.databind.JsonNode;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The places for processors, lowest first: a copy of the guest must have the same ones filled. */
final class Processors {
  private final Monitor monitor;

  /**
   * @param place where it is in the machine
   * @param present whether there is one
   * @param id by which it can be taken away; empty for one that was there from the start
   */
  private record Slot(String type, Map<String, Object> place, boolean present, String id) {
    int at(String name) {
      return place.get(name) instanceof Integer number ? number : 0;
    }
  }

  Processors(Monitor monitor) {
    this.monitor = monitor;
  }

  private List<Slot> slots() throws HypervisorException, InterruptedException {
    List<Slot> slots = new ArrayList<>();
    for (JsonNode slot : monitor.execute("query-hotpluggable-cpus")) {
      Map<String, Object> place = new LinkedHashMap<>();
      slot.path("props")
          .properties()
          .forEach(property -> place.put(property.getKey(), property.getValue().asInt()));
      String path = slot.path("qom-path").asText();
      String prefix = "/machine/peripheral/";
      slots.add(
          new Slot(
              slot.path("type").asText(),
              place,
              !path.isEmpty(),
              path.startsWith(prefix) ? path.substring(prefix.length()) : ""));
    }
    slots.sort(
        Comparator.comparingInt((Slot slot) -> slot.at("socket-id"))
            .thenComparingInt(slot -> slot.at("core-id"))
            .thenComparingInt(slot -> slot.at("thread-id")));
    return slots;
  }

  int present() throws HypervisorException, InterruptedException {
    return (int) slots().stream().filter(Slot::present).count();
  }

  /** Fills the lowest place that is empty. */
  void add() throws HypervisorException, InterruptedException {
    List<Slot> slots = slots();
    for (int i = 0; i < slots.size(); i++) {
      if (!slots.get(i).present()) {
        Map<String, Object> cpu = new LinkedHashMap<>(slots.get(i).place());
        cpu.put("driver", slots.get(i).type());
        cpu.put("id", "cpu" + i);
        monitor.execute("device_add", cpu);
        return;
      }
    }
    throw new HypervisorException(Kind.REFUSED, "the machine has no place for a processor");
  }

  /**
   * @throws HypervisorException REFUSED where QEMU emulates them: 7.2 frees what the thread of one
   *     that goes still uses, tells of no DEVICE_DELETED, and dies soon after with the guest
   */
  void requireRemovable() throws HypervisorException, InterruptedException {
    if (!monitor.execute("query-kvm").path("enabled").asBoolean()) {
      throw new HypervisorException(
          Kind.REFUSED,
          "The guest's processors are emulated (accelerator tcg), and QEMU would end if one were"
              + " taken away. Shut the VM down, and set VCPUs_at_startup");
    }
  }

  /** The id of the highest that can be taken away. */
  String last() throws HypervisorException, InterruptedException {
    return slots().reversed().stream()
        .filter(Slot::present)
        .findFirst()
        .filter(slot -> !slot.id().isEmpty())
        .orElseThrow(() ->
            new HypervisorException(
                Kind.REFUSED, "a guest cannot lose the processors that it started with"))
        .id();
  }
}
