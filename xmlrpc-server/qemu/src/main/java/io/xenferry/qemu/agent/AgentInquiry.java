package io.xenferry.qemu.agent;

import com.fasterxml.jackson.databind.JsonNode;
import io.xenferry.spi.AgentReport;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;

/** What is asked of an agent, and what is taken from its answers: of all else nothing. */
public final class AgentInquiry {
  /** Of each list that a guest sends, no more is looked at. */
  private static final int LIST = 1024;

  private static final Map<String, String> DISTROS = Map.of("mswindows", "windows");

  private AgentInquiry() {}

  /** One conversation. */
  public static AgentReport run(Path socket, Duration deadline)
      throws HypervisorException, InterruptedException {
    try (AgentConversation agent = AgentConversation.open(socket, deadline)) {
      JsonNode about = agent.ask("guest-info");
      Set<String> offered = offered(about);
      return new AgentReport(
          text(about, "version"),
          ask(agent, offered, "guest-get-osinfo").map(AgentInquiry::system).orElse(Map.of()),
          ask(agent, offered, "guest-get-host-name")
              .map(answer -> text(answer, "host-name"))
              .orElse(""),
          ask(agent, offered, "guest-network-get-interfaces")
              .map(AgentInquiry::interfaces)
              .orElse(List.of()));
    }
  }

  /** One that ends with the guest, if the guest likes. */
  public static void shutdown(Path socket, Duration deadline)
      throws HypervisorException, InterruptedException {
    try (AgentConversation agent = AgentConversation.open(socket, deadline)) {
      agent.tell("guest-shutdown", Map.of("mode", "powerdown"));
    }
  }

  private static Set<String> offered(JsonNode about) {
    Set<String> names = new HashSet<>();
    for (JsonNode command : first(about.path("supported_commands"), LIST)) {
      if (command.path("enabled").asBoolean()) {
        names.add(command.path("name").asText());
      }
    }
    return names;
  }

  /** Empty when the agent cannot, or an administrator of the guest has forbidden it. */
  private static Optional<JsonNode> ask(AgentConversation agent, Set<String> offered, String what)
      throws HypervisorException, InterruptedException {
    if (!offered.contains(what)) {
      return Optional.empty();
    }
    try {
      return Optional.of(agent.ask(what));
    } catch (HypervisorException e) {
      if (e.kind() == Kind.REFUSED) {
        return Optional.empty();
      }
      throw e;
    }
  }

  /** {@code id} is a word of os-release(5), or {@code mswindows}. */
  static Map<String, String> system(JsonNode answer) {
    Map<String, String> system = new LinkedHashMap<>();
    String pretty = text(answer, "pretty-name");
    put(system, AgentReport.NAME, pretty.isEmpty() ? text(answer, "name") : pretty);
    String id = text(answer, "id");
    put(system, AgentReport.DISTRO, DISTROS.getOrDefault(id, id));
    List<String> version = AgentText.numbers(text(answer, "version-id"));
    if (!version.isEmpty()) {
      put(system, AgentReport.MAJOR, version.getFirst());
      put(system, AgentReport.MINOR, version.size() > 1 ? version.get(1) : "0");
    }
    put(system, AgentReport.UNAME, text(answer, "kernel-release"));
    return Map.copyOf(system);
  }

  private static void put(Map<String, String> system, String key, String value) {
    if (!value.isEmpty()) {
      system.put(key, value);
    }
  }

  /** Those that have a hardware address; the loopback has that of zeroes. */
  static List<AgentReport.Interface> interfaces(JsonNode answer) {
    List<AgentReport.Interface> interfaces = new ArrayList<>();
    for (JsonNode card : first(answer, LIST)) {
      Optional<String> mac = AgentText.mac(card.path("hardware-address").asText(""));
      if (mac.isEmpty() || interfaces.size() == AgentReport.INTERFACES) {
        continue;
      }
      interfaces.add(
          new AgentReport.Interface(
              mac.get(),
              addresses(card, "ipv4", AgentText::ipv4),
              addresses(card, "ipv6", AgentText::ipv6)));
    }
    return List.copyOf(interfaces);
  }

  private static List<String> addresses(
      JsonNode card, String type, Function<String, Optional<String>> checked) {
    List<String> found = new ArrayList<>();
    for (JsonNode address : first(card.path("ip-addresses"), LIST)) {
      if (address.path("ip-address-type").asText("").equals(type)) {
        checked
            .apply(address.path("ip-address").asText(""))
            .filter(text -> !found.contains(text))
            .filter(text -> found.size() < AgentReport.Interface.ADDRESSES)
            .ifPresent(found::add);
      }
    }
    return List.copyOf(found);
  }

  private static Iterable<JsonNode> first(JsonNode list, int limit) {
    List<JsonNode> some = new ArrayList<>();
    for (JsonNode item : list.isArray() ? list : List.<JsonNode>of()) {
      if (some.size() == limit) {
        break;
      }
      some.add(item);
    }
    return some;
  }

  private static String text(JsonNode node, String field) {
    JsonNode value = node.path(field);
    return value.isTextual() ? AgentText.printable(value.textValue()) : "";
  }
}
