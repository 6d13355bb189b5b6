package io.xenferry.simulation;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The models of who owns the VM and of the write-ordering point, see {@code docs/model.md}: all of
 * their states are looked at, and each way to be wrong is found out.
 */
@Timeout(900)
class ModelTest {
  private static final String OWNERSHIP = "ownership.pml";
  private static final String WRITES = "writes.pml";
  private static final String FAULTS = "CRASHES=3 DEATHS=2 TARGETS=1 HICCUPS=1 REFUSALS=1";
  private static final String WRITE_FAULTS =
      "WRITES=2 MIRRORS=2 SERVER_CRASHES=1 TARGET_CRASHES=1 BREAKS=1 STALLS=1";

  @TempDir Path directory;

  @BeforeEach
  void toolsAreThere() {
    ModelChecker.require();
  }

  /** What is searched, with the bounds of the faults. */
  enum Configuration {
    ONE_MOVE(OWNERSHIP, FAULTS),
    FORCE(OWNERSHIP, FAULTS + " OUTAGES=3 FORCES=2"),
    HALTED(OWNERSHIP, FAULTS + " OUTAGES=3 FORCES=2 HALTED"),
    TWICE(OWNERSHIP, FAULTS + " MOVES=2"),
    THERE_AND_BACK(OWNERSHIP, FAULTS + " MOVES=2 BACK"),
    LEDGER_REPLACED(OWNERSHIP, FAULTS + " OUTAGES=1 LEDGERS=1"),
    LEDGER_REPLACED_HALTED(OWNERSHIP, FAULTS + " OUTAGES=1 LEDGERS=1 HALTED"),
    LEDGER_OF_BEFORE_THE_SECOND(OWNERSHIP, "CRASHES=2 DEATHS=1 OUTAGES=1 LEDGERS=1 MOVES=2"),
    WRITES_OVERLAP(
        WRITES, "WRITES=3 MIRRORS=2 SERVER_CRASHES=1 TARGET_CRASHES=1 BREAKS=1 STALLS=1"),
    WRITES_ACROSS_BLOCKS(
        WRITES, "WRITES=2 BLOCKS=2 W0=3 W1=2 MIRRORS=1 TARGET_CRASHES=1 BREAKS=1 STALLS=1");

    final String model;
    final List<String> definitions;

    Configuration(String model, String definitions) {
      this.model = model;
      this.definitions = words(definitions);
    }
  }

  /** Ways to be wrong, with the promise that the search sees broken first. */
  enum Broken {
    COMMIT_BEFORE_COMMITTING_IS_DURABLE(
        OWNERSHIP, "CRASHES=1", "destination_equals_source_at_the_commit"),
    NO_STARTING_RECORD(OWNERSHIP, "CRASHES=1 DEATHS=1", "a_guest_never_goes_back_in_time"),
    OUTCOME_FORGOTTEN_BEFORE_ACKNOWLEDGED(
        OWNERSHIP, "CRASHES=1", "everything_ends_and_nothing_is_left"),
    NO_TOMBSTONE(OWNERSHIP, "DEATHS=1", "destination_equals_source_at_the_commit"),
    INCARNATION_UNCHECKED(OWNERSHIP, "CRASHES=1 LEDGERS=1", "at_most_one_side_runs_the_guest"),
    RESUME_RACES_COMMITTING(OWNERSHIP, "", "destination_equals_source_at_the_commit"),
    EXPORT_CLOSED_BEFORE_RECORDED(OWNERSHIP, "", "one_writer_to_a_disk"),
    SECOND_BESIDE_AN_UNENDED_ROW(OWNERSHIP, "MOVES=2 CRASHES=1", "the_memory_exists"),
    RETURNING_READY_OBEYS_AT_ONCE(
        OWNERSHIP, "HALTED OUTAGES=1 FORCES=1", "at_most_one_side_runs_the_guest"),
    ACCEPTED_BLINDLY(OWNERSHIP, "LEDGERS=1", "a_running_guest_is_not_destroyed"),
    FORCE_BELIEVED_FOR_EVER(OWNERSHIP, "OUTAGES=2 FORCES=2", "at_most_one_side_runs_the_guest"),
    GOES_ON_THOUGH_CLOSED(OWNERSHIP, "CRASHES=1", "one_writer_to_a_disk"),
    REMOVED_BEFORE_THE_OUTCOME(
        OWNERSHIP, "REFUSALS=1", "the_disks_are_complete_where_the_guest_runs"),
    REMOVED_BEFORE_THE_COPY_ENDS(OWNERSHIP, "", "a_complete_copy_exists"),
    COPIER_WITHOUT_LOCK(WRITES, WRITE_FAULTS, "destination_equals_source_at_the_switch"),
    BIT_CLEARED_AFTER_READ(WRITES, WRITE_FAULTS, "destination_equals_source_at_the_switch"),
    BIT_SET_ONLY_BEFORE(WRITES, WRITE_FAULTS, "destination_equals_source_at_the_switch"),
    BIT_SET_ONLY_AFTER(WRITES, WRITE_FAULTS, "destination_equals_source_at_the_switch"),
    DROPPED_FROM_LOG_AT_ANY_FLUSH(WRITES, WRITE_FAULTS, "destination_equals_source_at_the_switch"),
    REPLAYED_AFTER_BROKEN_CONNECTION(
        WRITES, WRITE_FAULTS, "destination_equals_source_at_the_switch"),
    RESENDS_UNDER_STALLED_WRITE(WRITES, WRITE_FAULTS, "destination_equals_source_at_the_switch"),
    NOT_FENCED(WRITES, WRITE_FAULTS, "nothing_changes_the_destination_afterwards"),
    NOT_LOGGED(WRITES, "WRITES=1", "the_log_names_every_difference"),
    NEVER_CONNECTED_AGAIN(WRITES, WRITE_FAULTS, "the_copy_comes_to_its_end");

    final String model;
    final List<String> definitions;
    final String promise;

    Broken(String model, String bounds, String promise) {
      this.model = model;
      this.definitions = Stream.concat(Stream.of(name()), words(bounds).stream()).toList();
      this.promise = promise;
    }
  }

  /** What must be possible, asked for as if it were forbidden: the models are not idle. */
  enum Goal {
    MOVED(OWNERSHIP, ""),
    RETURNED(OWNERSHIP, "REFUSALS=1"),
    MOVED_TWICE(OWNERSHIP, "MOVES=2 BACK"),
    MOVED_BY_THE_NEXT_SERVERS(OWNERSHIP, "CRASHES=2"),
    FORCED_BACK(OWNERSHIP, "OUTAGES=1 FORCES=1"),
    FORCED_ANEW(OWNERSHIP, "OUTAGES=3 FORCES=3"),
    LEDGER_NOT_BELIEVED(OWNERSHIP, "LEDGERS=1"),
    ARRIVED_BEFORE_THE_COPY_WAS_PUT_BACK(OWNERSHIP, "LEDGERS=1"),
    MIRRORED(WRITES, "WRITES=1"),
    STALLED(WRITES, "WRITES=2");

    final String model;
    final List<String> definitions;

    Goal(String model, String bounds) {
      this.model = model;
      this.definitions =
          Stream.concat(Stream.of("GOAL_" + name()), words(bounds).stream()).toList();
    }
  }

  private static List<String> words(String line) {
    return Stream.of(line.split(" ", -1)).filter(word -> !word.isEmpty()).toList();
  }

  @Test
  void aSmallMoveKeepsEveryPromise() throws Exception {
    ModelChecker.Outcome outcome =
        new ModelChecker(directory).checkSmall(OWNERSHIP, List.of("CRASHES=1", "DEATHS=1"));
    assertThat(outcome.violated()).as(outcome.trace()).isEmpty();
    assertThat(outcome.states()).isGreaterThan(1000);
  }

  @ParameterizedTest
  @EnumSource(
      value = Broken.class,
      names = {"RESUME_RACES_COMMITTING", "COPIER_WITHOUT_LOCK"})
  void aBrokenModelIsFoundOutSoon(Broken variant) throws Exception {
    ModelChecker.Outcome outcome =
        new ModelChecker(directory).checkSmall(variant.model, variant.definitions);
    assertThat(outcome.violated()).contains(variant.promise);
    assertThat(outcome.trace()).contains(variant.model.equals(WRITES) ? "lock next" : "COMMITTED");
  }

  @ParameterizedTest
  @ValueSource(strings = {OWNERSHIP, WRITES})
  void eachPromiseIsBrokenByAVariant(String model) throws Exception {
    Set<String> promises = ModelChecker.promises(model);
    assertThat(promises).hasSizeGreaterThan(3);
    for (String promise : promises) {
      assertThat(Broken.values())
          .as(promise)
          .anyMatch(variant -> variant.model.equals(model) && variant.promise.equals(promise));
    }
  }

  @Tag("slow")
  @ParameterizedTest
  @EnumSource(Configuration.class)
  void everyPromiseHoldsInEveryState(Configuration configuration) throws Exception {
    ModelChecker.Outcome outcome =
        new ModelChecker(directory).check(configuration.model, configuration.definitions);
    System.out.printf(
        "%s: %,d states, %,d transitions%n",
        configuration, outcome.states(), outcome.transitions());
    assertThat(outcome.violated()).as(outcome.trace()).isEmpty();
    assertThat(outcome.states()).isGreaterThan(10_000);
  }

  @Tag("slow")
  @ParameterizedTest
  @EnumSource(Broken.class)
  void aBrokenModelIsFoundOut(Broken variant) throws Exception {
    ModelChecker.Outcome outcome =
        new ModelChecker(directory).check(variant.model, variant.definitions);
    System.out.printf("%s: %s%n", variant, outcome.violated().orElse("nothing is found"));
    assertThat(outcome.violated()).contains(variant.promise);
  }

  @Tag("slow")
  @ParameterizedTest
  @EnumSource(Goal.class)
  void whatMustBePossibleIs(Goal goal) throws Exception {
    ModelChecker.Outcome outcome = new ModelChecker(directory).check(goal.model, goal.definitions);
    assertThat(outcome.violated()).contains("the_goal_is_reached");
  }

  /** So that "everything ends" means that it does, and not only that nothing is stuck. */
  @Tag("slow")
  @ParameterizedTest
  @EnumSource(
      value = Configuration.class,
      names = {"ONE_MOVE", "HALTED"})
  void noRunGoesOnForEver(Configuration configuration) throws Exception {
    ModelChecker.Outcome outcome =
        new ModelChecker(directory).checkForCycles(configuration.model, configuration.definitions);
    assertThat(outcome.violated()).isEmpty();
  }

  @Tag("slow")
  @Test
  void noWriteGoesOnForEver() throws Exception {
    ModelChecker.Outcome outcome =
        new ModelChecker(directory).checkForCycles(WRITES, words(WRITE_FAULTS));
    assertThat(outcome.violated()).isEmpty();
  }
}
