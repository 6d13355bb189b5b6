package io.xenferry.guest;

import io.xenferry.qemu.access.GuestUsers;
import org.junit.jupiter.api.Tag;

/** Guests that run as users of their own do all that those of the server's user do. */
@Tag("slow")
class ConfinedQemuContractTest extends QemuHypervisorTest {
  @Override
  GuestUsers users() throws Exception {
    return ConfinedGuestTest.users();
  }
}
