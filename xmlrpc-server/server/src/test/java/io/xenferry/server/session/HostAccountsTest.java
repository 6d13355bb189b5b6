package io.xenferry.server.session;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The host's own users, asked of the system's own programs, and PAM with a service of the test. */
class HostAccountsTest {
  @TempDir Path directory;

  /** Whoever runs the tests is on every host. */
  private final String me = System.getProperty("user.name");

  /** A service in which a program decides; it reads the password. */
  private HostAccounts deciding(String account) throws Exception {
    Path program = directory.resolve("decide");
    Files.writeString(
        program,
        "#!/bin/sh\nread -r password\n[ \"$PAM_USER:$password\" = \"%s:right\" ]\n".formatted(me));
    Files.setPosixFilePermissions(program, PosixFilePermissions.fromString("rwxr-xr-x"));
    Files.writeString(
        directory.resolve(HostAccounts.SERVICE),
        "auth required pam_exec.so quiet expose_authtok %s\naccount required %s\n"
            .formatted(program, account));
    return new HostAccounts(Optional.of(directory));
  }

  @Test
  void pamDecides() throws Exception {
    assumeTrue(Pam.isInstalled());
    try (HostAccounts accounts = deciding("pam_permit.so")) {
      accounts.requireUsable();
      for (int i = 0; i < 3; i++) {
        assertThat(accounts.authenticate(me, "right")).isEqualTo(Accounts.Verdict.RIGHT);
        assertThat(accounts.authenticate(me, "wrong")).isEqualTo(Accounts.Verdict.WRONG);
      }
      assertThat(accounts.authenticate(me, "")).isEqualTo(Accounts.Verdict.WRONG);
      assertThat(accounts.authenticate(me, "right\0and more")).isEqualTo(Accounts.Verdict.WRONG);
      assertThat(accounts.authenticate("somebody", "right")).isEqualTo(Accounts.Verdict.WRONG);
      assertThat(accounts.authenticate("--help", "right")).isEqualTo(Accounts.Verdict.WRONG);
    }
  }

  @Test
  void aClosedAccountIsClosedToTheRightPasswordToo() throws Exception {
    assumeTrue(Pam.isInstalled());
    try (HostAccounts accounts = deciding("pam_deny.so")) {
      assertThat(accounts.authenticate(me, "right")).isEqualTo(Accounts.Verdict.CLOSED);
      assertThat(accounts.authenticate(me, "wrong")).isEqualTo(Accounts.Verdict.WRONG);
    }
  }

  @Test
  void theSystemTellsOfItsUsersAndGroups() throws Exception {
    try (HostAccounts accounts = new HostAccounts(Optional.empty())) {
      String identifier = accounts.identifier(me).orElseThrow();
      assertThat(identifier).matches("u[0-9]+");
      var told = accounts.information(identifier).orElseThrow();
      assertThat(told).containsEntry("subject-name", me).containsEntry("subject-is-group", "false");
      assertThat(accounts.groups(identifier)).contains(told.get("subject-gid"));
      String group = told.get("subject-gid");
      assertThat(accounts.information(group).orElseThrow())
          .containsEntry("subject-is-group", "true");
      assertThat(accounts.groups(group)).containsExactly(group);
      for (String nobody :
          new String[] {"no-such-user-here", "0", "", "--service=files", "a:b", "a\nb", "root\0"}) {
        assertThat(accounts.identifier(nobody)).as(nobody).isEmpty();
      }
      for (String nobody : new String[] {"u4294967290", "x0", "u", "", "u-1", "u0 ", "root"}) {
        assertThat(accounts.information(nobody)).as(nobody).isEmpty();
        assertThat(accounts.groups(nobody)).as(nobody).isEmpty();
      }
    }
  }
}
