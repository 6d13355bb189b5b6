package io.xenferry.server.messages;

import io.xenferry.model.DataModel;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Transaction;
import io.xenferry.server.call.Accessors;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;
import io.xenferry.server.schema.Schema;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;

/** Networks without an interface of this host: records, until a VIF is plugged into one. */
final class NetworkMessages {
  private static final String TEST = "RecordsTest.networksComeAndGo";

  private NetworkMessages() {}

  static void register(Registry r) {
    r.implement("network.create", NetworkMessages::create, TEST);
    r.implement("network.destroy", NetworkMessages::destroy, TEST);
    r.implement("network.set_MTU", NetworkMessages::setMtu, TEST);
  }

  private static Value create(Call c) throws XenApiException {
    Map<String, Value> fields =
        Accessors.constructorFields(DataModel.classDef("network"), c.members(0));
    if (fields.get("MTU") instanceof Value.Int(long mtu)) {
      requireMtu(mtu);
    }
    return c.server()
        .db()
        .write(tx -> {
          Value bridge = fields.getOrDefault("bridge", Value.of(""));
          if (bridge.equals(Value.of(""))) {
            fields.put("bridge", Value.of(freeBridge(c.server().schema(), tx)));
          }
          return Value.of(tx.create("network", fields));
        });
  }

  /** RFC 791's least, and what a frame's length can say. */
  private static void requireMtu(long mtu) throws XenApiException {
    if (mtu < 68 || mtu > 65_535) {
      throw new XenApiException("INVALID_VALUE", "MTU", Long.toString(mtu));
    }
  }

  /** For VIFs that are plugged from then on; those that are plugged keep what they have. */
  private static Value setMtu(Call c) throws XenApiException {
    requireMtu(c.integer(1));
    c.server()
        .db()
        .change(tx -> {
          Schema.row(tx, "network", c.text(0));
          c.server().schema().set(tx, "network", c.text(0), "MTU", c.arg(1));
        });
    return Value.VOID;
  }

  private static String freeBridge(Schema schema, Transaction tx) {
    Set<String> taken =
        tx.rows("network").stream().map(n -> schema.text(n, "bridge")).collect(Collectors.toSet());
    int i = 0;
    while (taken.contains("xapi" + i)) {
      i++;
    }
    return "xapi" + i;
  }

  private static Value destroy(Call c) throws XenApiException {
    Schema schema = c.server().schema();
    c.server()
        .db()
        .change(tx -> {
          Row n = Schema.row(tx, "network", c.text(0));
          List<String> pifs = schema.texts(n, "PIFs");
          if (!pifs.isEmpty()) {
            throw new XenApiException("NETWORK_CONTAINS_PIF", pifs);
          }
          List<String> vifs = schema.texts(n, "VIFs");
          if (!vifs.isEmpty()) {
            throw new XenApiException("NETWORK_CONTAINS_VIF", vifs);
          }
          tx.delete("network", n.ref());
        });
    return Value.VOID;
  }
}
