package io.xenferry.fuzz;

import org.jspecify.annotations.Nullable;

/** What Jazzer calls: its first target argument is the surface's name. */
public final class JazzerEntry {
  private static @Nullable Surface surface;
  private static @Nullable Troubles troubles;

  private JazzerEntry() {}

  /** Once, before the first input. */
  public static void fuzzerInitialize(String[] arguments) throws Exception {
    troubles = Troubles.watch();
    surface = Surfaces.open(arguments[0]);
  }

  /** Any exception is a finding. */
  public static void fuzzerTestOneInput(byte[] input) throws Exception {
    if (surface == null || troubles == null) {
      throw new IllegalStateException("fuzzerInitialize was not called");
    }
    surface.take(input);
    troubles.none();
  }

  /** After the last input. */
  public static void fuzzerTearDown() throws Exception {
    if (surface != null) {
      surface.close();
    }
  }
}
