package io.xenferry.server.messages;

import io.xenferry.model.Host;
import io.xenferry.model.Network;
import io.xenferry.model.PIF;
import io.xenferry.model.Ref;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.call.Accessors;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;
import java.util.List;

/**
 * Interfaces of this host. They are the operating system's to set up: {@code managed} is false, and
 * what would change them is refused as published servers refuse it of such ones. What is asked for
 * and is so already is done.
 */
final class PifMessages {
  private static final String TEST = "RefusalsTest.theHostsInterfacesAreItsOwn";

  /** IEEE 802.1Q; 4095 is reserved. */
  private static final int MOST_TAG = 4094;

  private PifMessages() {}

  static void register(Registry r) {
    r.implement("VLAN.create", c -> vlan(c, c.ref(0), c.integer(1), c.ref(2)), TEST);
    r.implement("pool.create_VLAN_from_PIF", c -> vlan(c, c.ref(0), c.integer(2), c.ref(1)), TEST);
    r.implement(
        "pool.create_VLAN", c -> vlan(c, ofDevice(c, c.text(0)), c.integer(2), c.ref(1)), TEST);
    r.implement("PIF.create_VLAN", PifMessages::vlanOfHost, TEST);
    for (String change : List.of("reconfigure_ip", "reconfigure_ipv6", "set_property")) {
      r.implement("PIF." + change, c -> unmanaged(c, c.ref(0)), TEST);
    }
    r.implement("PIF.set_primary_address_type", PifMessages::addressType, TEST);
    r.implement("PIF.plug", PifMessages::plug, TEST);
    r.implement("PIF.set_disallow_unplug", PifMessages::disallowUnplug, TEST);
    r.implement("host.management_reconfigure", PifMessages::management, TEST);
    r.implement("pool.management_reconfigure", PifMessages::managementNetwork, TEST);
  }

  private static Value unmanaged(Call c, Ref<PIF> pif) throws XenApiException {
    c.server().db().snapshot().get(pif, PIF.UUID);
    throw new XenApiException("PIF_UNMANAGED", pif.opaque());
  }

  private static Value vlan(Call c, Ref<PIF> pif, long tag, Ref<Network> network)
      throws XenApiException {
    c.server().db().snapshot().get(network, Network.UUID);
    if (tag < 0 || tag > MOST_TAG) {
      throw new XenApiException("VLAN_TAG_INVALID", Long.toString(tag));
    }
    return unmanaged(c, pif);
  }

  private static Value vlanOfHost(Call c) throws XenApiException {
    c.server().db().snapshot().get(c.<Host>ref(2), Host.UUID);
    return vlan(c, ofDevice(c, c.text(0)), c.integer(3), c.ref(1));
  }

  private static Ref<PIF> ofDevice(Call c, String device) throws XenApiException {
    Snapshot db = c.server().db().snapshot();
    for (var row : db.rows("PIF")) {
      Ref<PIF> pif = Ref.of(row.ref());
      if (db.get(pif, PIF.DEVICE).equals(device)) {
        return pif;
      }
    }
    throw new XenApiException("INVALID_VALUE", "device", device);
  }

  private static Value addressType(Call c) throws XenApiException {
    Ref<PIF> pif = c.ref(0);
    boolean same =
        c.server().db().snapshot().get(pif, PIF.PRIMARY_ADDRESS_TYPE).wire().equals(c.text(1));
    return same ? Value.VOID : unmanaged(c, pif);
  }

  private static Value plug(Call c) throws XenApiException {
    Ref<PIF> pif = c.ref(0);
    return c.server().db().snapshot().get(pif, PIF.CURRENTLY_ATTACHED)
        ? Value.VOID
        : unmanaged(c, pif);
  }

  /** Nobody unplugs one here, whether it may be or not. */
  private static Value disallowUnplug(Call c) throws XenApiException {
    Accessors.change(c, tx -> {});
    return Value.VOID;
  }

  private static Value management(Call c) throws XenApiException {
    Ref<PIF> pif = c.ref(0);
    return c.server().db().snapshot().get(pif, PIF.MANAGEMENT) ? Value.VOID : unmanaged(c, pif);
  }

  private static Value managementNetwork(Call c) throws XenApiException {
    Snapshot db = c.server().db().snapshot();
    Ref<Network> network = c.ref(0);
    List<Ref<PIF>> pifs = db.get(network, Network.PIFS);
    for (Ref<PIF> pif : pifs) {
      if (db.get(pif, PIF.MANAGEMENT)) {
        return Value.VOID;
      }
    }
    if (pifs.isEmpty()) {
      throw new XenApiException(
          "PIF_NOT_PRESENT", db.rows("host").iterator().next().ref(), network.opaque());
    }
    return unmanaged(c, pifs.getFirst());
  }
}
