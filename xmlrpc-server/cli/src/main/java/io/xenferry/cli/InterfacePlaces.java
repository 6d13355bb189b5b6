package io.xenferry.cli;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;

/**
 * The destination's networks for the interfaces of VMs that move many at a time: those that the
 * user names, else the one of the same name. An interface for which there is none, or more than
 * one, is left out, and the server tells so.
 */
final class InterfacePlaces {
  private final Calls here;
  private final Destination there;
  private final SequencedMap<String, Value> users;
  private final Map<String, Optional<String>> byName = new HashMap<>();

  InterfacePlaces(Run run, Destination there) throws XenApiException, CliException {
    this.here = run.calls();
    this.there = there;
    SequencedMap<String, String> named = new LinkedHashMap<>();
    for (Map.Entry<String, String> e : run.arguments().map("vif").entrySet()) {
      named.put(here.byUuid("VIF", e.getKey()), e.getValue());
    }
    users = there.named(named, "network");
  }

  /** Of a VM and its snapshots: a network's reference there by the interface's here. */
  SequencedMap<String, Value> of(String vm) throws XenApiException {
    List<String> owners = new ArrayList<>(List.of(vm));
    owners.addAll(Calls.texts(here.call("VM.get_snapshots", Value.of(vm))));
    SequencedMap<String, Value> places = new LinkedHashMap<>();
    for (String owner : owners) {
      for (String vif : Calls.texts(here.call("VM.get_VIFs", Value.of(owner)))) {
        Value named = users.get(vif);
        if (named != null) {
          places.put(vif, named);
        } else {
          sameName(here.of(vif, "VIF.get_network"))
              .ifPresent(network -> places.put(vif, Value.of(network)));
        }
      }
    }
    return places;
  }

  private Optional<String> sameName(String network) throws XenApiException {
    Optional<String> known = byName.get(network);
    if (known == null) {
      String name = here.of(network, "network.get_name_label");
      List<String> found =
          List.copyOf(
              there.calls().records("network", Calls.anyEquals(name, "name__label")).keySet());
      known = found.size() == 1 ? Optional.of(found.getFirst()) : Optional.empty();
      byName.put(network, known);
    }
    return known;
  }
}
