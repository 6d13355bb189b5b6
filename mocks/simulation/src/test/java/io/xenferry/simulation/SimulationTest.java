package io.xenferry.simulation;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.migration.state.Role;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import picocli.CommandLine;

class SimulationTest {
  private static final int SEEDS = 10_000;

  /** Some ten seconds; on a machine with much else to do, a minute. */
  @Test
  @Timeout(300)
  void everyPromiseHoldsInEverySeed() throws InterruptedException {
    Tally tally = Tally.of(1, SEEDS, Variant.SOUND, Runtime.getRuntime().availableProcessors());
    assertThat(tally.failures())
        .as("replay with ./xenferry simulate --trace --seeds=1 --first=SEED")
        .isEmpty();
    assertThat(tally.coverage().wrong()).as(String.join("\n", tally.coverage().table())).isEmpty();
    assertThat(tally.counts())
        .as("what happened: %s", tally.counts())
        .containsKeys(
            "tasks: success",
            "tasks: failure",
            "tasks: cancelled",
            "tasks destroyed",
            "cancels",
            "cancels of tasks",
            "cancels of tasks refused",
            "messages lost",
            "messages doubled",
            "messages late",
            "network cuts",
            "servers killed",
            "hosts lost power",
            "effects refused",
            "effects with no answer",
            "starts refused by the gate",
            "guest processes died",
            "guests shut down",
            "guests booted again",
            "guests booted at the destination",
            "ledgers lost",
            "ledgers put back",
            SimServer.GONE_ON + Role.SOURCE,
            SimServer.GONE_ON + Role.DESTINATION);
  }

  @Test
  void aSeedReplaysTaskForTask() {
    List<String> one = new ArrayList<>();
    List<String> two = new ArrayList<>();
    Simulation.Result first = Simulation.run(77, Variant.SOUND, one);
    Simulation.Result second = Simulation.run(77, Variant.SOUND, two);
    assertThat(second.fingerprint()).isEqualTo(first.fingerprint());
    assertThat(two).isEqualTo(one).isNotEmpty();
    assertThat(Simulation.run(77, Variant.SOUND, null).fingerprint())
        .isEqualTo(first.fingerprint());
  }

  /** What a command prints. */
  private static String output(int status, String... options) {
    StringWriter text = new StringWriter();
    CommandLine command = new CommandLine(new SimulateCommand()).setOut(new PrintWriter(text));
    assertThat(command.execute(options)).isEqualTo(status);
    return text.toString();
  }

  @Test
  void aFailingSeedSaysHowToReplayItAndHowEverythingStands() {
    String said = output(1, "--seeds=200", "--variant=NO_STARTING_RECORD");
    Matcher replay = Pattern.compile("replay: ./xenferry simulate (.*)").matcher(said);
    assertThat(replay.find()).isTrue();
    String violation =
        said.lines().filter(line -> line.contains("VIOLATION")).findFirst().orElseThrow();
    assertThat(said)
        .contains("aimed at ", "; faults: ", "the guest has written ", "A: server ", "B: server ");
    String again = output(1, replay.group(1).split(" "));
    assertThat(again.lines().map(String::strip)).contains(violation.strip());
    assertThat(
            output(1, replay.group(1).split(" ")).lines().filter(SimulationTest::traced).toList())
        .isEqualTo(again.lines().filter(SimulationTest::traced).toList());
  }

  @Test
  void aMigrationHasItsPrice() {
    SimulationBench bench = new SimulationBench(new PrintWriter(new StringWriter()), 0);
    SimulationBench.Cost alone = bench.cost(new Scale(1, 3, 24, Duration.ofMillis(10)), 0);
    SimulationBench.Cost beside = bench.cost(new Scale(20, 1, 24, Duration.ofMillis(40)), 0);
    assertThat(alone.migrations()).isEqualTo(1);
    assertThat(beside.migrations()).isEqualTo(20);
    assertThat(beside.tasks()).isGreaterThan(alone.tasks());
    assertThat(beside.cpuSeconds()).isPositive();
  }

  /** A line that begins with a time. */
  private static boolean traced(String line) {
    return line.matches(" +[0-9]+\\.[0-9]{4} .*");
  }

  @ParameterizedTest
  @EnumSource(value = Variant.class, names = "SOUND", mode = EnumSource.Mode.EXCLUDE)
  void aBrokenProductIsFoundOut(Variant variant) {
    boolean found =
        LongStream.range(1, 6_000)
            .parallel()
            .mapToObj(seed -> Simulation.run(seed, variant, null))
            .anyMatch(result -> breaks(variant.breaks().orElseThrow(), result));
    assertThat(found).as("%s breaks: %s", variant, variant.breaks()).isTrue();
  }

  /** Whether a run has found what is wrong with the product, and not something else. */
  private static boolean breaks(Invariant invariant, Simulation.Result result) {
    String promise = invariant.words() + ": ";
    return result.violation().filter(found -> found.startsWith(promise)).isPresent();
  }

  @Test
  void aRestoredLedgerIsNotBelieved() {
    List<String> trace = new ArrayList<>();
    assertThat(Simulation.restoredLedger(5, Variant.SOUND, trace).violation())
        .as(String.join("\n", trace))
        .isEmpty();
    assertThat(Simulation.restoredLedger(5, Variant.ACCEPTED_BLINDLY, null))
        .matches(result -> breaks(Invariant.DOUBT_DECIDES_NOTHING, result));
  }

  @Test
  void aLedgerThatIsLostIsNotTakenForTheOneOfBefore() {
    List<String> trace = new ArrayList<>();
    assertThat(Simulation.lostLedger(5, Variant.SOUND, trace).violation())
        .as(String.join("\n", trace))
        .isEmpty();
    assertThat(Simulation.lostLedger(5, Variant.INCARNATION_UNCHECKED, null))
        .matches(result -> breaks(Invariant.ONE_RUNS, result));
  }
}
