package io.xenferry.server.messages;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;
import java.util.Map;

/** Secrets with a uuid that others refer to; those with a fresh one are rows like any. */
final class SecretMessages {
  private SecretMessages() {}

  static void register(Registry r) {
    r.implement(
        "secret.introduce", SecretMessages::introduce, "PoolAndHostTest.aSecretKeepsItsUuid");
  }

  private static Value introduce(Call c) throws XenApiException {
    String uuid = c.text(0);
    if (!uuid.matches("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")) {
      throw new XenApiException("INVALID_VALUE", "uuid", uuid);
    }
    Map<String, Value> fields =
        Map.of(
            "uuid", Value.of(uuid),
            "value", c.arg(1),
            "other_config", c.arg(2));
    return c.server().db().write(tx -> Value.of(tx.create("secret", fields)));
  }
}
