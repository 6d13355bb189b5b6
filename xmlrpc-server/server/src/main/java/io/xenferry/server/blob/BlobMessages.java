package io.xenferry.server.blob;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Transaction;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;
import io.xenferry.server.schema.Schema;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;

/**
 * The class {@code blob}, and {@code create_new_blob} of those that keep blobs under names. A blob
 * outlives what keeps it: it goes when it is destroyed.
 */
public final class BlobMessages {
  private static final String TEST = "BlobTest.";

  /** Classes with a map of blobs. */
  private static final List<String> KEEPERS = List.of("VM", "host", "SR", "pool", "network");

  private static final String MAP = "blobs";

  /** Of one whose maker does not say what it is. */
  private static final String BYTES = "application/octet-stream";

  private final Blobs blobs;

  public BlobMessages(Blobs blobs) {
    this.blobs = blobs;
  }

  public void register(Registry r) {
    r.implement(
        "blob.create",
        c -> c.server().db().write(tx -> Value.of(create(c, tx, "", c.text(0), c.bool(1)))),
        TEST + "oneComesAndGoes");
    r.implement("blob.destroy", this::destroy, TEST + "oneComesAndGoes");
    r.implement("blob.set_public", BlobMessages::setPublic, TEST + "aPublicOneNeedsNoSession");
    for (String keeper : KEEPERS) {
      r.implement(keeper + ".create_new_blob", c -> keep(c, keeper), TEST + "eachClassKeepsItsOwn");
    }
  }

  private static String create(Call c, Transaction tx, String name, String mimeType, boolean open)
      throws XenApiException {
    Map<String, Value> fields = new LinkedHashMap<>();
    fields.put("name_label", Value.of(name));
    fields.put("mime_type", Value.of(requireHeader(mimeType.isEmpty() ? BYTES : mimeType)));
    fields.put("public", Value.of(open));
    fields.put("size", Value.of(0L));
    fields.put("last_updated", Value.of(Instant.EPOCH));
    return tx.create("blob", fields);
  }

  /** It is told in a header: nothing that could end one. */
  private static String requireHeader(String mimeType) throws XenApiException {
    if (mimeType.length() > 255 || !mimeType.chars().allMatch(c -> c >= ' ' && c < 127)) {
      throw new XenApiException("INVALID_VALUE", "mime_type", mimeType);
    }
    return mimeType;
  }

  private static Value keep(Call c, String keeper) throws XenApiException {
    Schema schema = c.server().schema();
    String name = c.text(1);
    return c.server()
        .db()
        .write(tx -> {
          Row owner = Schema.row(tx, keeper, c.text(0));
          SequencedMap<String, Value> kept =
              new LinkedHashMap<>(((Value.Struct) schema.get(owner, MAP)).members());
          if (kept.containsKey(name)) {
            throw new XenApiException("MAP_DUPLICATE_KEY", keeper, MAP, owner.ref(), name);
          }
          Value blob = Value.of(create(c, tx, name, c.text(2), c.bool(3)));
          kept.put(name, blob);
          schema.set(tx, keeper, owner.ref(), MAP, new Value.Struct(kept));
          return blob;
        });
  }

  private Value destroy(Call c) throws XenApiException {
    Schema schema = c.server().schema();
    Value ref = c.arg(0);
    Row blob = Schema.row(c.server().db().snapshot(), "blob", c.text(0));
    c.server()
        .db()
        .change(tx -> {
          for (String keeper : KEEPERS) {
            for (Row owner : List.copyOf(tx.rows(keeper))) {
              SequencedMap<String, Value> kept =
                  new LinkedHashMap<>(((Value.Struct) schema.get(owner, MAP)).members());
              if (kept.values().removeIf(ref::equals)) {
                schema.set(tx, keeper, owner.ref(), MAP, new Value.Struct(kept));
              }
            }
          }
          tx.delete("blob", blob.ref());
        });
    blobs.forget(schema.text(blob, "uuid"));
    return Value.VOID;
  }

  private static Value setPublic(Call c) throws XenApiException {
    c.server()
        .db()
        .change(tx -> {
          Schema.row(tx, "blob", c.text(0));
          c.server().schema().set(tx, "blob", c.text(0), "public", c.arg(1));
        });
    return Value.VOID;
  }
}
