package io.xenferry.server.messages;

import io.xenferry.model.Network;
import io.xenferry.model.NetworkDefaultLockingMode;
import io.xenferry.model.Ref;
import io.xenferry.model.VIF;
import io.xenferry.model.Value;
import io.xenferry.model.VifLockingMode;
import io.xenferry.model.XenApiException;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;
import java.util.Map;
import java.util.Set;

/**
 * What may pass an interface of a VM: everything does. Whatever would have to filter is refused,
 * also for a VIF that is only just made, so that nobody takes an address for locked that is not.
 */
final class TrafficMessages {
  private static final String TEST = "TrafficTest.";
  private static final String FEATURE = "VIF_locking";
  private static final Set<String> UNFILTERED =
      Set.of(VifLockingMode.NETWORK_DEFAULT.wire(), VifLockingMode.UNLOCKED.wire());

  private TrafficMessages() {}

  static void register(Registry r) {
    r.implement("VIF.set_locking_mode", TrafficMessages::setMode, TEST + "nothingIsFiltered");
    r.implement(
        "network.set_default_locking_mode",
        TrafficMessages::setDefault,
        TEST + "nothingIsFiltered");
    r.refuseFeature(
        FEATURE,
        "VIF.set_ipv4_allowed",
        "VIF.add_ipv4_allowed",
        "VIF.set_ipv6_allowed",
        "VIF.add_ipv6_allowed");
    r.generic("VIF.remove_ipv4_allowed", "VIF.remove_ipv6_allowed");
    for (String version : Set.of("4", "6")) {
      r.implement(
          "VIF.configure_ipv" + version,
          TrafficMessages::configure,
          TEST + "noGuestTakesAnAddress");
    }
  }

  /**
   * Of the fields of a new VIF.
   *
   * @throws XenApiException LICENCE_RESTRICTION
   */
  static void requireUnfiltered(Map<String, Value> fields) throws XenApiException {
    if (fields.get("locking_mode") instanceof Value.Text(String mode)) {
      requireUnfiltered(mode);
    }
  }

  private static void requireUnfiltered(String mode) throws XenApiException {
    if (!UNFILTERED.contains(mode)) {
      throw new XenApiException("LICENCE_RESTRICTION", FEATURE);
    }
  }

  private static Value setMode(Call c) throws XenApiException {
    Ref<VIF> vif = c.ref(0);
    c.server()
        .db()
        .change(tx -> {
          tx.get(vif, VIF.UUID);
          requireUnfiltered(c.text(1));
          tx.set(vif, VIF.LOCKING_MODE, VifLockingMode.ofWire(c.text(1)));
        });
    return Value.VOID;
  }

  private static Value setDefault(Call c) throws XenApiException {
    Ref<Network> network = c.ref(0);
    c.server()
        .db()
        .change(tx -> {
          tx.get(network, Network.UUID);
          requireUnfiltered(c.text(1));
          tx.set(
              network, Network.DEFAULT_LOCKING_MODE, NetworkDefaultLockingMode.ofWire(c.text(1)));
        });
    return Value.VOID;
  }

  /** By a driver in the guest, which none has here. */
  private static Value configure(Call c) throws XenApiException {
    Ref<VIF> vif = c.ref(0);
    if (c.text(1).equals("None")) {
      c.server().db().snapshot().get(vif, VIF.UUID);
      return Value.VOID;
    }
    throw new XenApiException(
        "VM_LACKS_FEATURE", c.server().db().snapshot().get(vif, VIF.VM).opaque());
  }
}
