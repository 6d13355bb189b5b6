package io.xenferry.server.messages;

import io.xenferry.model.Host;
import io.xenferry.model.Network;
import io.xenferry.model.Ref;
import io.xenferry.model.SR;
import io.xenferry.model.VBD;
import io.xenferry.model.VDI;
import io.xenferry.model.VIF;
import io.xenferry.model.VM;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Handler;
import io.xenferry.server.call.Registry;
import io.xenferry.server.schema.Schema;
import java.time.ZoneId;
import java.util.List;
import java.util.TreeSet;

/**
 * What a pool of one host, without licenses and without what hosts do for each other, can say or is
 * already as it is asked to be.
 */
final class PoolOfOneMessages {
  private static final String TEST = "PoolOfOneTest.";
  private static final String EDITION = "free";

  private PoolOfOneMessages() {}

  static void register(Registry r) {
    r.implement("pool.recover_slaves", c -> Value.EMPTY_ARRAY, TEST + "thereIsNobodyElse");
    r.implement(
        "pool.designate_new_master",
        // It is that already.
        done("host", 0),
        TEST + "thereIsNobodyElse");
    r.implement("host.sync_data", done("host", 0), TEST + "thereIsNobodyElse");
    r.implement("VM.assert_agile", PoolOfOneMessages::assertAgile, TEST + "nothingIsShared");
    // No database is kept on a disk, and nothing is cached on one.
    r.implement("pool.disable_redo_log", c -> Value.VOID, TEST + "whatIsOffIsTurnedOff");
    r.implement("SR.disable_database_replication", done("SR", 0), TEST + "whatIsOffIsTurnedOff");
    r.implement(
        "host.disable_local_storage_caching", done("host", 0), TEST + "whatIsOffIsTurnedOff");
    r.implement(
        "pool.disable_local_storage_caching", done("pool", 0), TEST + "whatIsOffIsTurnedOff");
    r.implement("pool.disable_ssl_legacy", done("pool", 0), TEST + "whatIsOffIsTurnedOff");
    r.implement("host.set_ssl_legacy", PoolOfOneMessages::legacy, TEST + "whatIsOffIsTurnedOff");
    r.implement("host.apply_edition", c -> edition(c, "host"), TEST + "thereIsOneEdition");
    r.implement("pool.apply_edition", c -> edition(c, "pool"), TEST + "thereIsOneEdition");
    r.implement("host.license_remove", done("host", 0), TEST + "thereIsOneEdition");
    r.implement("host.list_timezones", PoolOfOneMessages::timezones, TEST + "zonesAreListed");
    r.implement(
        "pool.get_guest_secureboot_readiness",
        c -> answer(c, "pool", "not_ready"),
        TEST + "secureBootIsNotThere");
    r.implement(
        "VM.get_secureboot_readiness",
        PoolOfOneMessages::secureBoot,
        TEST + "secureBootIsNotThere");
  }

  private static Handler done(String className, int argument) {
    return c -> {
      Schema.row(c.server().db().snapshot(), className, c.text(argument));
      return Value.VOID;
    };
  }

  private static Value answer(Call c, String className, String word) throws XenApiException {
    Schema.row(c.server().db().snapshot(), className, c.text(0));
    return Value.of(word);
  }

  /** Whether any host of the pool could run it, if there were another. */
  private static Value assertAgile(Call c) throws XenApiException {
    Snapshot db = c.server().db().snapshot();
    Ref<VM> vm = c.ref(0);
    if (!db.get(vm, VM.ATTACHED_PCIS).isEmpty()) {
      throw new XenApiException("VM_HAS_PCI_ATTACHED", vm.opaque());
    }
    for (Ref<VBD> vbd : db.get(vm, VM.VBDS)) {
      if (!db.get(vbd, VBD.EMPTY)) {
        Ref<SR> sr = db.get(db.get(vbd, VBD.VDI), VDI.SR);
        if (!db.get(sr, SR.SHARED)) {
          throw new XenApiException("HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED", sr.opaque());
        }
      }
    }
    for (Ref<VIF> vif : db.get(vm, VM.VIFS)) {
      Ref<Network> network = db.get(vif, VIF.NETWORK);
      if (db.get(network, Network.PIFS).isEmpty()) {
        throw new XenApiException("HA_CONSTRAINT_VIOLATION_NETWORK_NOT_SHARED", network.opaque());
      }
    }
    return Value.VOID;
  }

  private static Value legacy(Call c) throws XenApiException {
    Ref<Host> host = c.ref(0);
    c.server().db().snapshot().get(host, Host.UUID);
    if (c.bool(1)) {
      throw new XenApiException(
          "VALUE_NOT_SUPPORTED", "value", "true", "TLS before 1.2 is not there");
    }
    return Value.VOID;
  }

  private static Value edition(Call c, String className) throws XenApiException {
    Schema.row(c.server().db().snapshot(), className, c.text(0));
    if (!c.text(1).equals(EDITION)) {
      throw new XenApiException("INVALID_EDITION", c.text(1));
    }
    return Value.VOID;
  }

  private static Value timezones(Call c) throws XenApiException {
    Schema.row(c.server().db().snapshot(), "host", c.text(0));
    return Value.ofTexts(List.copyOf(new TreeSet<>(ZoneId.getAvailableZoneIds())));
  }

  /** Firmware here has no keys. */
  private static Value secureBoot(Call c) throws XenApiException {
    Snapshot db = c.server().db().snapshot();
    boolean uefi = "uefi".equals(db.get(c.<VM>ref(0), VM.HVM_BOOT_PARAMS).get("firmware"));
    return Value.of(uefi ? "disabled" : "not_supported");
  }
}
