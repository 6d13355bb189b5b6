package io.xenferry.server.messages;

import io.xenferry.model.DataModel;
import io.xenferry.model.Ref;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Transaction;
import io.xenferry.server.call.Accessors;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;
import io.xenferry.server.schema.Schema;
import io.xenferry.spi.GuestSpec;
import java.util.HashSet;
import java.util.Locale;
import java.util.Map;
import java.util.Set;

/** Virtual block devices as records; what concerns a guest is elsewhere. */
final class VbdMessages {
  private static final String TEST = "RecordsTest.vbdsAreChecked";

  /** xvda to xvdp. */
  static final int DEVICES = 16;

  private final AllowedOperations allowed;
  private final Schema schema = new Schema();

  VbdMessages(AllowedOperations allowed) {
    this.allowed = allowed;
  }

  void register(Registry r) {
    r.implement("VBD.create", this::create, TEST);
    r.implement("VBD.destroy", this::destroy, TEST);
    r.implement("VBD.set_mode", c -> setDetached(c, "mode"), TEST);
    r.implement("VBD.set_userdevice", this::setUserdevice, TEST);
    r.implement(
        "VBD.set_unpluggable", this::setUnpluggable, "PlugTest.aDiskThatTheGuestDoesNotLetGoStays");
    r.implement("VBD.set_type", c -> setDetached(c, "type"), TEST);
  }

  private Value create(Call c) throws XenApiException {
    Map<String, Value> f = Accessors.constructorFields(DataModel.classDef("VBD"), c.members(0));
    boolean empty = f.get("empty") instanceof Value.Bool(boolean b) && b;
    boolean disk = text(f, "type").equals("Disk");
    if (empty && disk) {
      throw new XenApiException("VBD_NOT_REMOVABLE_MEDIA", Ref.nullRef().opaque());
    }
    if (text(f, "type").equals("CD") && text(f, "mode").equals("RW")) {
      throw new XenApiException("VBD_CDS_MUST_BE_READONLY");
    }
    f.put("currently_attached", Value.of(false));
    return c.server()
        .db()
        .write(tx -> {
          Row vm = Schema.row(tx, "VM", text(f, "VM"));
          Schema.requireReferences(tx, "VBD", f);
          if (empty) {
            f.put("VDI", Value.of(Ref.nullRef()));
          } else {
            Row vdi = Schema.row(tx, "VDI", text(f, "VDI"));
            if (schema.bool(vdi, "read_only") && text(f, "mode").equals("RW")) {
              throw new XenApiException("VDI_READONLY", vdi.ref());
            }
          }
          int position = position(tx, vm, text(f, "userdevice"), slots(text(f, "type")));
          f.put("userdevice", Value.of(Integer.toString(position)));
          f.put("device", Value.of(deviceName(position)));
          String ref = tx.create("VBD", f);
          allowed.refresh(tx, vm.ref());
          return Value.of(ref);
        });
  }

  /**
   * Below a number of slots; they may be given as {@code 0}, {@code xvda}, or {@code autodetect}.
   */
  private int position(Transaction tx, Row vm, String userdevice, int slots)
      throws XenApiException {
    Set<Integer> taken = taken(tx, vm);
    if (userdevice.equals("autodetect") || userdevice.isEmpty()) {
      for (int i = 0; i < slots; i++) {
        if (!taken.contains(i)) {
          return i;
        }
      }
      throw new XenApiException("INVALID_DEVICE", userdevice);
    }
    int position = parse(userdevice);
    if (position < 0 || position >= slots) {
      throw new XenApiException("INVALID_DEVICE", userdevice);
    }
    if (taken.contains(position)) {
      throw new XenApiException("DEVICE_ALREADY_EXISTS", userdevice);
    }
    return position;
  }

  private static int slots(String type) {
    return type.equals("CD") ? GuestSpec.CD_SLOTS : DEVICES;
  }

  private Set<Integer> taken(Transaction tx, Row vm) throws XenApiException {
    Set<Integer> taken = new HashSet<>();
    for (String vbd : schema.texts(vm, "VBDs")) {
      taken.add(parse(schema.text(Schema.row(tx, "VBD", vbd), "userdevice")));
    }
    return taken;
  }

  private static int parse(String userdevice) {
    String s = userdevice.toLowerCase(Locale.ROOT);
    if (s.matches("[0-9]{1,3}")) {
      return Integer.parseInt(s);
    }
    return s.matches("(xvd|hd|sd)[a-p]") ? s.charAt(s.length() - 1) - 'a' : -1;
  }

  static String deviceName(int position) {
    return "xvd" + (char) ('a' + position);
  }

  private Value destroy(Call c) throws XenApiException {
    c.server()
        .db()
        .change(tx -> {
          Row vbd = Schema.row(tx, "VBD", c.text(0));
          requireDetached(vbd);
          tx.delete("VBD", vbd.ref());
        });
    return Value.VOID;
  }

  private Value setDetached(Call c, String field) throws XenApiException {
    c.server()
        .db()
        .change(tx -> {
          Row vbd = Schema.row(tx, "VBD", c.text(0));
          requireDetached(vbd);
          schema.set(tx, "VBD", vbd.ref(), field, c.arg(1));
        });
    return Value.VOID;
  }

  private Value setUnpluggable(Call c) throws XenApiException {
    Accessors.change(
        c,
        tx -> {
          String vm = schema.text(Schema.row(tx, "VBD", c.text(0)), "VM");
          if (tx.row("VM", vm).isPresent()) {
            allowed.refresh(tx, vm);
          }
        });
    return Value.VOID;
  }

  private Value setUserdevice(Call c) throws XenApiException {
    c.server()
        .db()
        .change(tx -> {
          Row vbd = Schema.row(tx, "VBD", c.text(0));
          requireDetached(vbd);
          int wanted = parse(c.text(1));
          if (wanted != parse(schema.text(vbd, "userdevice"))) {
            Row vm = Schema.row(tx, "VM", schema.text(vbd, "VM"));
            int position = position(tx, vm, c.text(1), slots(schema.text(vbd, "type")));
            schema.set(tx, "VBD", vbd.ref(), "userdevice", Value.of(Integer.toString(position)));
            schema.set(tx, "VBD", vbd.ref(), "device", Value.of(deviceName(position)));
          }
        });
    return Value.VOID;
  }

  private void requireDetached(Row vbd) throws XenApiException {
    if (schema.bool(vbd, "currently_attached")) {
      throw new XenApiException("OPERATION_NOT_ALLOWED", "The VBD is attached to a running VM");
    }
  }

  private static String text(Map<String, Value> fields, String name) {
    return fields.get(name) instanceof Value.Text(String text) ? text : "";
  }
}
