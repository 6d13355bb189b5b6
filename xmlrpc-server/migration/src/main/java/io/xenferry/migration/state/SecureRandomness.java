package io.xenferry.migration.state;

import java.security.SecureRandom;
import java.util.UUID;

/** The product's randomness. Thread-safe. */
public final class SecureRandomness implements Randomness {
  private final SecureRandom random = new SecureRandom();

  @Override
  public UUID uuid() {
    return UUID.randomUUID();
  }

  @Override
  public byte[] bytes(int count) {
    byte[] bytes = new byte[count];
    random.nextBytes(bytes);
    return bytes;
  }

  @Override
  public double fraction() {
    return random.nextDouble();
  }
}
