package io.xenferry.server.migration;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.model.XenApiException;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What a move, or one under way, can be told, and what it answers to the rest. */
class MoveOptionsTest {
  private static final String KEPT = "true, false, or hours or days to keep it, as 12h or 7d";
  private static final String INSTANT = "auto, hold, now, a time as 2026-01-31T22:00:00Z";

  private static void assertRefused(XenApiException refused, String... params) {
    assertThat(refused.code()).isEqualTo("INVALID_VALUE");
    assertThat(refused.params()).containsExactly(params);
  }

  private static void refuses(Map<String, String> options, String... params) {
    assertThatThrownBy(() -> MoveOptions.check(options))
        .isInstanceOfSatisfying(XenApiException.class, e -> assertRefused(e, params));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "strategy     | foo      | log-dirty, mirror, auto, snapshot",
        "strategy     | AUTO     | log-dirty, mirror, auto, snapshot",
        "max-downtime | 300ms    | a number of milliseconds, 1 to 86400000",
        "max-downtime | 0        | a number of milliseconds, 1 to 86400000",
        "max-downtime | 86400001 | a number of milliseconds, 1 to 86400000",
        "max-downtime | 99999999999 | a number of milliseconds, 1 to 86400000",
        "bandwidth    | 10MiB    | a number of bytes a second, 0 for no limit",
        "bandwidth    | -1       | a number of bytes a second, 0 for no limit",
        "disk-bandwidth | 1k     | a number of bytes a second, 0 for no limit",
        "keep-attempt | true     | false, or hours or days to keep it, as 12h or 7d",
        "verify       | yes      | none, sampled, full, paused, true, false",
        "base         | mine     | auto, none, the uuid of a VDI at the destination",
        "transport    | pigeons  | iscsi, nbds",
        "keep-source  | 10m      | " + KEPT,
        "keep-source  | 0d       | " + KEPT,
        "cutover      | soon     | " + INSTANT,
        "compress     | zip      | true, on, 1, false, off, 0",
        "force        | 1        | true, false",
        "copy         | no       | true, false",
        "live         | t        | true, false",
        "strategy     | ''       | log-dirty, mirror, auto, snapshot",
        "mode         | cold     | live, warm",
        "hard-shutdown | yes     | true, false",
        "shutdown-timeout | 0    | a number of seconds, 1 to 86400",
        "shutdown-timeout | 86401 | a number of seconds, 1 to 86400"
      })
  void aRefusalNamesOptionAndValueAndWhatIsAllowed(String name, String value, String allowed) {
    String shown = value.isEmpty() ? "''" : value;
    refuses(Map.of(name, value), name, shown + " (allowed: " + allowed + ")");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "strategy     | snapshot",
        "max-downtime | 1",
        "bandwidth    | 0",
        "disk-bandwidth | 1048576",
        "keep-attempt | 2D",
        "verify       | TRUE",
        "verify       | sampled",
        "verify       | paused",
        "base         | 00000000-0000-4000-8000-000000000001",
        "transport    | nbds",
        "keep-source  | 12h",
        "keep-source  | 7D",
        "cutover      | 2026-01-31T22:00:00Z",
        "compress     | off",
        "copy         | False"
      })
  void whatIsAllowedIsTaken(String name, String value) throws XenApiException {
    MoveOptions.check(Map.of(name, value));
  }

  @Test
  void anUnknownOptionIsRefusedWithThoseThereAre() {
    refuses(
        Map.of("strateg", "auto"),
        "options",
        "strateg (allowed: bandwidth, base, compress, copy, cutover, disk-bandwidth, force,"
            + " hard-shutdown, keep-attempt, keep-source, live, max-downtime, mode, network,"
            + " shutdown-timeout, strategy, transport, verify)");
  }

  @ParameterizedTest
  @CsvSource({"shutdown-timeout, 60", "hard-shutdown, true"})
  void whatIsOfAMoveWithARebootIsForOneOnly(String name, String value) throws XenApiException {
    refuses(Map.of(name, value), name, value + " is for mode=warm");
    refuses(Map.of(name, value, "mode", "live"), name, value + " is for mode=warm");
    MoveOptions.check(Map.of(name, value, "mode", "warm"));
  }

  @Test
  void aLongValueIsNotRepeatedAsAWhole() {
    refuses(
        Map.of("transport", "x".repeat(1 << 20)),
        "transport",
        "x".repeat(100) + "… (allowed: iscsi, nbds)");
  }

  @Test
  void aCopyLeavesNothingToKeep() throws XenApiException {
    refuses(
        Map.of("copy", "true", "keep-source", "7d"),
        "keep-source",
        "7d is for moves; a copy leaves the VM here as it is");
    MoveOptions.check(Map.of("copy", "true", "keep-source", "false"));
    MoveOptions.check(Map.of("copy", "false", "keep-source", "true"));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "paused       | maybe    | true, false",
        "bandwidth    | 1.5      | a number of bytes a second, 0 for no limit",
        "max-downtime | 0        | a number of milliseconds, 1 to 86400000",
        "cutover      | soon     | " + INSTANT,
        "strategy     | snapshot | log-dirty, mirror, auto"
      })
  void soDoesARefusalOfWhatAMoveUnderWayIsTold(String name, String value, String allowed) {
    assertThatThrownBy(() -> SteeringWords.read(Map.of(name, value)))
        .isInstanceOfSatisfying(
            XenApiException.class,
            e -> assertRefused(e, name, value + " (allowed: " + allowed + ")"));
  }

  @Test
  void whatCannotBeChangedIsNamedWithWhatCan() {
    assertThatThrownBy(() -> SteeringWords.read(Map.of("colour", "red")))
        .isInstanceOfSatisfying(
            XenApiException.class,
            e ->
                assertRefused(
                    e,
                    "options",
                    "colour (allowed: bandwidth, disk-bandwidth, max-downtime, cutover, paused,"
                        + " strategy)"));
  }
}
