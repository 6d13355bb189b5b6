package io.xenferry.server.console;

import io.xenferry.model.Console;
import io.xenferry.model.ConsoleProtocol;
import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Transaction;
import io.xenferry.spi.Guest;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The console records of VMs with a guest here, and whom each leads to. */
public final class ConsoleRecords {
  private static final Logger log = LoggerFactory.getLogger(ConsoleRecords.class);

  private final ObjectDatabase database;
  private final String base;

  /**
   * @param base where this server is reached, {@code https://host:port}
   */
  public ConsoleRecords(ObjectDatabase database, String base) {
    this.database = database;
    this.base = base;
  }

  /** Makes the records of a guest's consoles, or brings those that there are up to date. */
  public void appear(Guest guest) {
    try {
      database.change(tx -> {
        Optional<Row> vm = tx.byUuid("VM", guest.vm().toString());
        if (vm.isPresent()) {
          for (Guest.Console kind : Guest.Console.values()) {
            if (guest.console(kind).isPresent()) {
              appear(tx, new Ref<>(vm.get().ref()), protocol(kind));
            }
          }
        }
      });
    } catch (XenApiException e) {
      log.warn("the consoles of VM {} have no records", guest.vm(), e);
    }
  }

  private void appear(Transaction tx, Ref<VM> vm, ConsoleProtocol protocol) throws XenApiException {
    for (Ref<Console> known : tx.get(vm, VM.CONSOLES)) {
      if (tx.get(known, Console.PROTOCOL) == protocol) {
        tx.set(known, Console.LOCATION, location(tx.get(known, Console.UUID)));
        return;
      }
    }
    String uuid = UUID.randomUUID().toString();
    Map<String, Value> fields = new LinkedHashMap<>();
    fields.put("uuid", Value.of(uuid));
    fields.put("protocol", Value.of(protocol.wire()));
    fields.put("location", Value.of(location(uuid)));
    fields.put("VM", Value.of(vm));
    fields.put("other_config", Value.ofTexts(Map.of()));
    fields.put("port", Value.of(-1L));
    tx.create("console", fields);
  }

  private String location(String uuid) {
    return base + "/console?uuid=" + uuid;
  }

  private static ConsoleProtocol protocol(Guest.Console kind) {
    return switch (kind) {
      case TEXT -> ConsoleProtocol.VT100;
      case SCREEN -> ConsoleProtocol.RFB;
    };
  }

  /** A console of a VM. */
  record Found(Ref<VM> vm, UUID uuid, Guest.Console kind) {}

  /**
   * The console that a client names.
   *
   * @param name reference or uuid of a console, or of a VM, whose screen is meant then
   */
  Optional<Found> find(String name) throws XenApiException {
    var db = database.snapshot();
    Optional<Row> console = db.row("console", name).or(() -> db.byUuid("console", name));
    if (console.isPresent()) {
      Ref<Console> ref = new Ref<>(console.get().ref());
      Ref<VM> vm = db.get(ref, Console.VM);
      return switch (db.get(ref, Console.PROTOCOL)) {
        case VT100 -> Optional.of(found(vm, Guest.Console.TEXT));
        case RFB -> Optional.of(found(vm, Guest.Console.SCREEN));
        case RDP -> Optional.empty();
      };
    }
    Optional<Row> vm = db.row("VM", name).or(() -> db.byUuid("VM", name));
    return vm.isPresent()
        ? Optional.of(found(new Ref<>(vm.get().ref()), Guest.Console.SCREEN))
        : Optional.empty();
  }

  private Found found(Ref<VM> vm, Guest.Console kind) throws XenApiException {
    return new Found(vm, UUID.fromString(database.snapshot().get(vm, VM.UUID)), kind);
  }

  /** Removes the records of a VM that has no guest here any more. */
  public static void disappear(Transaction tx, Ref<VM> vm) throws XenApiException {
    for (Ref<Console> console : List.copyOf(tx.get(vm, VM.CONSOLES))) {
      tx.delete("console", console.opaque());
    }
  }
}
