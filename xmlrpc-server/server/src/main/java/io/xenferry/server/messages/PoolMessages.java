package io.xenferry.server.messages;

import io.xenferry.model.Value;
import io.xenferry.server.call.Registry;
import io.xenferry.server.schema.Schema;
import java.util.Map;

/** The pool of one host. */
final class PoolMessages {
  private static final String TEST = "PoolAndHostTest.thePoolAnswers";

  private PoolMessages() {}

  static void register(Registry r) {
    r.implement(
        "pool.get_license_state",
        c -> {
          Schema.row(c.server().db().snapshot(), "pool", c.text(0));
          return Value.ofTexts(Map.of("edition", "free", "expiry", "never"));
        },
        TEST);
    // None can be installed.
    r.implement("pool.certificate_list", c -> Value.EMPTY_ARRAY, TEST);
    r.implement("pool.crl_list", c -> Value.EMPTY_ARRAY, TEST);
    // A host agrees with itself.
    r.implement(
        "pool.detect_nonhomogeneous_external_auth",
        c -> {
          Schema.row(c.server().db().snapshot(), "pool", c.text(0));
          return Value.VOID;
        },
        TEST);
    r.implement("pool.is_slave", c -> Value.of(false), TEST);
    // Every commit is durable before it is answered: there is nothing to wait for.
    r.implement("pool.sync_database", c -> Value.VOID, TEST);
  }
}
