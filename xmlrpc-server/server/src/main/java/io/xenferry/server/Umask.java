package io.xenferry.server;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/**
 * The mode that files do not get, of this process and of those that it starts: SQLite, qemu-img,
 * QEMU and tgtd make files for it and ask nobody. umask(2).
 */
final class Umask {
  private static final int GROUP_AND_OTHERS = 077;

  private Umask() {}

  /** From now on what is made is its owner's alone. */
  static void ownerOnly() {
    Linker linker = Linker.nativeLinker();
    MethodHandle umask =
        linker.downcallHandle(
            linker.defaultLookup().findOrThrow("umask"),
            FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.JAVA_INT));
    try {
      int _ = (int) umask.invokeExact(GROUP_AND_OTHERS);
    } catch (Throwable e) {
      throw new IllegalStateException("umask(2) cannot be called", e);
    }
  }
}
