package io.xenferry.migration.state;

import java.util.UUID;

/** Where ids, keys and jitter come from: secure in the product, seeded in the simulation. */
public interface Randomness {
  UUID uuid();

  /** Unguessable bytes. */
  byte[] bytes(int count);

  /** 0 inclusive to 1 exclusive; for jitter. */
  double fraction();
}
