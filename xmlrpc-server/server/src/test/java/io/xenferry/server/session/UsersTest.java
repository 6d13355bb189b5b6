package io.xenferry.server.session;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Passwords, the ones that were right before among them. */
class UsersTest {
  private static final int ITERATIONS = 1000;

  @TempDir Path directory;

  @Test
  void theRightPasswordIsRightAgain() throws Exception {
    Users users = new Users(directory, ITERATIONS);
    String password = Files.readString(directory.resolve("root-password")).strip();
    for (int login = 0; login < 3; login++) {
      assertThat(users.authenticate("root", password)).contains(Users.SUPERUSER);
    }
  }

  @Test
  void aWrongPasswordIsWrongBeforeAndAfterARightOne() throws Exception {
    Users users = new Users(directory, ITERATIONS);
    users.put("ann", "reader", "right");
    assertThat(users.authenticate("ann", "wrong")).isEmpty();
    assertThat(users.authenticate("ann", "right")).contains("reader");
    assertThat(users.authenticate("ann", "wrong")).isEmpty();
    assertThat(users.authenticate("ann", "")).isEmpty();
    assertThat(users.authenticate("root", "right")).isEmpty();
    assertThat(users.authenticate("nobody", "right")).isEmpty();
    assertThat(users.authenticate("ann", "right")).contains("reader");
  }

  @Test
  void aPasswordThatWasChangedIsRightNoLonger() throws Exception {
    Users users = new Users(directory, ITERATIONS);
    users.put("ann", "reader", "old");
    assertThat(users.authenticate("ann", "old")).contains("reader");
    users.put("ann", "operator", "new");
    assertThat(users.authenticate("ann", "old")).isEmpty();
    assertThat(users.authenticate("ann", "new")).contains("operator");
    users.put("ann", "operator", "old");
    assertThat(users.authenticate("ann", "new")).isEmpty();
    assertThat(users.authenticate("ann", "old")).contains("operator");
  }

  @Test
  void aServerThatIsStartedAnewKnowsThePasswords() throws Exception {
    new Users(directory, ITERATIONS).put("ann", "reader", "right");
    Users later = new Users(directory, ITERATIONS);
    assertThat(later.authenticate("ann", "wrong")).isEmpty();
    assertThat(later.authenticate("ann", "right")).contains("reader");
  }
}
