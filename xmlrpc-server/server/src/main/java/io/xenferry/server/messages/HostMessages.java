package io.xenferry.server.messages;

import io.xenferry.model.DataModel;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Row;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;
import io.xenferry.server.http.Certificate;
import io.xenferry.server.schema.Schema;
import io.xenferry.server.vm.HostMemory;
import java.security.GeneralSecurityException;
import java.time.LocalDateTime;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.Map;

/** The host, as far as nothing outside the server is touched. */
final class HostMessages {
  private static final String TEST = "PoolAndHostTest.theHostAnswers";

  private final Certificate certificate;

  HostMessages(Certificate certificate) {
    this.certificate = certificate;
  }

  void register(Registry r) {
    r.implement("host.get_servertime", HostMessages::serverTime, TEST);
    r.implement("host.get_server_localtime", HostMessages::localTime, TEST);
    r.implement(
        "host.dmesg",
        c -> {
          requireHost(c);
          return Value.of(KernelLog.read());
        },
        "DiagnosticsTest.theKernelsLogIsTold");
    r.implement("host.list_methods", HostMessages::listMethods, TEST);
    r.implement("host.get_management_interface", HostMessages::managementInterface, TEST);
    r.implement("host.get_server_certificate", this::serverCertificate, TEST);
    r.implement("host.compute_free_memory", HostMessages::freeMemory, TEST);
    r.implement("host.compute_memory_overhead", HostMessages::memoryOverhead, TEST);
    r.implement("host.get_tracked_user_agents", c -> Value.ofTexts(Map.of()), TEST);
    r.implement("host.is_in_emergency_mode", c -> Value.of(false), TEST);
    // Nothing but single processors is scheduled here, no cores and no sockets.
    r.implement("host.get_sched_gran", c -> ofHost(c, Value.of("cpu")), TEST);
    // Guests that do not let their balloon take memory are asked for it all the same.
    r.implement("host.get_uncooperative_resident_VMs", HostMessages::none, TEST);
    r.implement("host.enable", c -> enabled(c, true), TEST);
    r.implement("host.disable", c -> enabled(c, false), TEST);
  }

  private static Value serverTime(Call c) throws XenApiException {
    requireHost(c);
    return Value.of(c.server().clock().instant());
  }

  /** Nothing is taken from guests' memory. */
  private static Value memoryOverhead(Call c) throws XenApiException {
    requireHost(c);
    return Value.of(0L);
  }

  private static Value ofHost(Call c, Value answer) throws XenApiException {
    requireHost(c);
    return answer;
  }

  private static Value none(Call c) throws XenApiException {
    return ofHost(c, Value.EMPTY_ARRAY);
  }

  private static void requireHost(Call c) throws XenApiException {
    Schema.row(c.server().db().snapshot(), "host", c.text(0));
  }

  /** The wire has no zone for it: the local clock's face. */
  private static Value localTime(Call c) throws XenApiException {
    requireHost(c);
    LocalDateTime face =
        LocalDateTime.ofInstant(c.server().clock().instant(), ZoneId.systemDefault());
    return Value.of(face.toInstant(ZoneOffset.UTC));
  }

  private static Value listMethods(Call c) {
    return Value.ofTexts(
        DataModel.classes().stream()
            .flatMap(t -> t.messages().stream())
            .filter(m -> !m.hidden())
            .map(m -> m.wireName())
            .toList());
  }

  private static Value managementInterface(Call c) throws XenApiException {
    Schema schema = c.server().schema();
    Row host = Schema.row(c.server().db().snapshot(), "host", c.text(0));
    return c.server().db().snapshot().rows("PIF").stream()
        .filter(p -> schema.text(p, "host").equals(host.ref()) && schema.bool(p, "management"))
        .findFirst()
        .map(p -> Value.of(p.ref()))
        .orElseThrow(() -> new XenApiException("HOST_HAS_NO_MANAGEMENT_IP"));
  }

  private Value serverCertificate(Call c) throws XenApiException {
    try {
      return Value.of(certificate.pem());
    } catch (GeneralSecurityException e) {
      throw new XenApiException("INTERNAL_ERROR", e.toString()).withCause(e);
    }
  }

  /** Physical memory less what VMs were promised, as a start of one more counts it. */
  private static Value freeMemory(Call c) throws XenApiException {
    return Value.of(HostMemory.free(c.server().db().snapshot(), c.ref(0)));
  }

  private static Value enabled(Call c, boolean enabled) throws XenApiException {
    c.server()
        .db()
        .change(tx -> {
          Schema.row(tx, "host", c.text(0));
          c.server().schema().set(tx, "host", c.text(0), "enabled", Value.of(enabled));
        });
    return Value.VOID;
  }
}
