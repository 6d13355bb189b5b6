package io.xenferry.simulation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import io.xenferry.iscsi.target.TargetException;
import io.xenferry.iscsi.target.TargetException.Kind;
import io.xenferry.iscsi.tgt.Tgtadm;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.UUID;
import org.junit.jupiter.api.Test;

/** What the target service relies on of a tgtd, simulated or real. */
abstract class TgtadmContract {
  static final String IQN = "iqn.2026-01.io.xenferry:one";
  static final String USER = "ferry";
  static final String SECRET = "correct-horse-9";
  private static final Duration SOON = Duration.ofSeconds(60);

  abstract Tgtadm tgtadm();

  /** Where a disk of that name is. */
  abstract String backing(UUID disk) throws IOException;

  /** Logs in to {@link #IQN} with {@link #USER}, and stays. */
  abstract AutoCloseable login() throws IOException;

  private String run(String command) throws TargetException {
    return tgtadm().run(command.split(" "));
  }

  private void fails(Kind kind, String command) {
    assertThatThrownBy(() -> run(command))
        .as(command)
        .isInstanceOfSatisfying(TargetException.class, e -> assertThat(e.kind()).isEqualTo(kind));
  }

  /** Lines that tell of targets, sessions, accounts and rules. */
  private List<String> shown() throws TargetException {
    List<String> lines = run("--mode target --op show").lines().toList();
    return lines.stream()
        .filter(line ->
            line.startsWith("Target ")
                || line.matches(" {8}I_T nexus: \\d+")
                || line.matches(" {12}Connection: \\d+")
                || line.equals("    Account information:")
                || line.equals("    ACL information:")
                || line.matches(" {8}(ALL|" + USER + ")"))
        .map(line -> line.replaceAll("(nexus|Connection): \\d+", "$1: N"))
        .toList();
  }

  private void make() throws Exception {
    run("--mode target --op new --tid 5 --targetname " + IQN);
    run("--mode target --op update --tid 5 --name MaxBurstLength --value 1048576");
    run("--mode account --op new --user " + USER + " --password " + SECRET);
    run("--mode account --op bind --tid 5 --user " + USER);
    run(
        "--mode logicalunit --op new --tid 5 --lun 1 --bstype rdwr --backing-store "
            + backing(new UUID(1, 2)));
    run("--mode logicalunit --op update --tid 5 --lun 1 --params vendor_id=XENFERRY");
  }

  private void bind() throws TargetException {
    run("--mode target --op bind --tid 5 --initiator-address ALL");
  }

  @Test
  void anEmptyDaemonShowsNothing() throws Exception {
    assertThat(run("--mode target --op show")).isBlank();
    assertThat(run("--mode account --op show")).isBlank();
  }

  @Test
  void aTargetIsShownWithItsAccountAndRule() throws Exception {
    make();
    assertThat(shown())
        .containsExactly(
            "Target 5: " + IQN,
            "    Account information:",
            "        " + USER,
            "    ACL information:");
    bind();
    assertThat(shown()).endsWith("    ACL information:", "        ALL");
    assertThat(run("--mode account --op show").lines())
        .containsExactly("Account list:", "    " + USER);
    run("--mode target --op unbind --tid 5 --initiator-address ALL");
    assertThat(shown()).endsWith("    ACL information:");
  }

  @Test
  void anAccountThatGoesIsNoTargetsAnyMore() throws Exception {
    make();
    run("--mode account --op delete --user " + USER);
    assertThat(shown()).doesNotContain("        " + USER);
    assertThat(run("--mode account --op show")).isBlank();
  }

  @Test
  void whatIsThereIsNotMadeTwice() throws Exception {
    make();
    bind();
    fails(Kind.EXISTS, "--mode target --op new --tid 5 --targetname iqn.2026-01.io.xenferry:two");
    fails(Kind.EXISTS, "--mode target --op new --tid 6 --targetname " + IQN);
    fails(Kind.EXISTS, "--mode account --op new --user " + USER + " --password " + SECRET);
    fails(Kind.EXISTS, "--mode account --op bind --tid 5 --user " + USER);
    fails(Kind.EXISTS, "--mode target --op bind --tid 5 --initiator-address ALL");
    fails(
        Kind.EXISTS,
        "--mode logicalunit --op new --tid 5 --lun 1 --bstype rdwr --backing-store "
            + backing(new UUID(1, 2)));
  }

  /** So that what comes late of a killed server does nothing. */
  @Test
  void nothingIsDoneToWhatIsNotThere() throws Exception {
    make();
    String disk = backing(new UUID(1, 2));
    fails(
        Kind.NOT_FOUND, "--mode target --op update --tid 9 --name MaxBurstLength --value 1048576");
    fails(Kind.NOT_FOUND, "--mode account --op bind --tid 9 --user " + USER);
    fails(Kind.NOT_FOUND, "--mode account --op bind --tid 5 --user nobody");
    fails(Kind.NOT_FOUND, "--mode account --op delete --user nobody");
    fails(
        Kind.NOT_FOUND,
        "--mode logicalunit --op new --tid 9 --lun 1 --bstype rdwr --backing-store " + disk);
    fails(Kind.NOT_FOUND, "--mode logicalunit --op update --tid 9 --lun 1 --params vendor_id=X");
    fails(Kind.NOT_FOUND, "--mode target --op bind --tid 9 --initiator-address ALL");
    fails(Kind.NOT_FOUND, "--mode target --op unbind --tid 5 --initiator-address ALL");
    fails(Kind.NOT_FOUND, "--mode target --op delete --tid 9");
    fails(Kind.NOT_FOUND, "--mode conn --op delete --tid 5 --sid 77 --cid 0");
    fails(
        Kind.INVALID,
        "--mode logicalunit --op new --tid 5 --lun 2 --bstype rdwr --backing-store /no/such/disk");
  }

  @Test
  void nobodyLogsInWithoutARule() throws Exception {
    make();
    assertThatThrownBy(this::login).isInstanceOf(IOException.class);
    bind();
    login().close();
  }

  @Test
  void aTargetWithASessionStaysUntilItsConnectionIsClosed() throws Exception {
    make();
    bind();
    AutoCloseable session = login();
    assertThat(shown()).contains("        I_T nexus: N", "            Connection: N");
    run("--mode target --op unbind --tid 5 --initiator-address ALL");
    assertThat(shown()).contains("        I_T nexus: N");
    fails(Kind.ACTIVE, "--mode target --op delete --tid 5");
    String all = run("--mode target --op show");
    String sid = all.replaceAll("(?s).*I_T nexus: (\\d+).*", "$1");
    String cid = all.replaceAll("(?s).*Connection: (\\d+).*", "$1");
    run("--mode conn --op delete --tid 5 --sid " + sid + " --cid " + cid);
    await()
        .atMost(SOON)
        .untilAsserted(() -> assertThat(shown()).noneMatch(l -> l.contains("nexus")));
    run("--mode target --op delete --tid 5");
    assertThat(run("--mode target --op show")).isBlank();
    session.close();
  }
}
