package io.xenferry.server.messages;

import io.xenferry.model.Host;
import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;
import io.xenferry.spi.GuestSpec;
import java.util.LinkedHashMap;
import java.util.Map;

/** What the firmware tells a VM of its machine, from its next start on; said once and for all. */
final class BiosStringMessages {
  private static final String TEST = "BiosStringsTest.";

  /** Characters of one, as published servers have it. */
  private static final int LONGEST = 512;

  private BiosStringMessages() {}

  static void register(Registry r) {
    r.implement("VM.set_bios_strings", BiosStringMessages::set, TEST + "theyAreSetOnce");
    r.implement("VM.copy_bios_strings", BiosStringMessages::copy, TEST + "theyAreTheHosts");
  }

  private static Value set(Call c) throws XenApiException {
    Map<String, String> strings = c.textMap(1);
    for (Map.Entry<String, String> each : strings.entrySet()) {
      String value = each.getValue();
      if (!GuestSpec.BIOS_STRINGS.contains(each.getKey())) {
        throw new XenApiException("INVALID_VALUE", each.getKey(), value);
      }
      if (value.isEmpty() || value.length() > LONGEST || !value.matches("[!-~]([ -~]*[!-~])?")) {
        throw new XenApiException("INVALID_VALUE", each.getKey(), value);
      }
    }
    store(c, strings);
    return Value.VOID;
  }

  private static Value copy(Call c) throws XenApiException {
    Ref<Host> host = c.ref(1);
    Map<String, String> strings =
        new LinkedHashMap<>(c.server().db().snapshot().get(host, Host.BIOS_STRINGS));
    strings.keySet().retainAll(GuestSpec.BIOS_STRINGS);
    if (strings.isEmpty()) {
      c.server().db().snapshot().get(c.<VM>ref(0), VM.UUID);
      throw new XenApiException(
          "OPERATION_NOT_ALLOWED", "the firmware of the host tells nothing of it");
    }
    store(c, strings);
    return Value.VOID;
  }

  private static void store(Call c, Map<String, String> strings) throws XenApiException {
    Ref<VM> vm = c.ref(0);
    c.server()
        .db()
        .change(tx -> {
          if (!tx.get(vm, VM.BIOS_STRINGS).isEmpty()) {
            throw new XenApiException("VM_BIOS_STRINGS_ALREADY_SET");
          }
          tx.set(vm, VM.BIOS_STRINGS, strings);
        });
  }
}
