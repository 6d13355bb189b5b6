package io.xenferry.migration.state;

import io.xenferry.migration.json.StrictJson;
import java.time.Duration;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/**
 * How a move is carried on until the guest is stopped; an operator may change it while it runs.
 *
 * @param paused whether nothing is to be sent; what the guest writes is noted
 * @param bandwidth bytes a second, 0 for no limit; empty where nobody has said
 * @param diskBandwidth the same of each disk by itself
 * @param downtime how long the guest may stand still; empty where nobody has said
 * @param strategy by which the disks that the guest writes are copied; empty for what was planned
 * @param stopping whether the guest of a warm move has been told to shut down: its end is then the
 *     move's doing; never taken back
 * @param letGo whether the guest of a move that has come to nothing has been let go on, and nothing
 *     of the move can stop it any more: that it stands still is then a client's doing; never taken
 *     back
 */
public record Steering(
    boolean paused,
    CutOver cutOver,
    Optional<Long> bandwidth,
    Optional<Long> diskBandwidth,
    Optional<Duration> downtime,
    Optional<String> strategy,
    boolean stopping,
    boolean letGo) {
  private static final String PAUSED = "paused";
  private static final String STOPPING = "stopping";
  private static final String LET_GO = "let-go";
  private static final String STRATEGY = "strategy";

  /** As a move begins. */
  public static Steering of(Plan plan) {
    Map<String, String> options = plan.options();
    return new Steering(
        false,
        CutOver.of(options.getOrDefault(CutOver.OPTION, "auto")).orElse(CutOver.AUTO),
        Optional.ofNullable(options.get(MoveLimits.BANDWIDTH)).map(Long::valueOf),
        Optional.ofNullable(options.get(MoveLimits.DISK_BANDWIDTH)).map(Long::valueOf),
        Optional.ofNullable(options.get(MoveLimits.DOWNTIME))
            .map(millis -> Duration.ofMillis(Long.parseLong(millis))),
        Optional.empty(),
        false,
        false);
  }

  /** As {@link #parse} takes it. */
  public String text() {
    return StrictJson.text(new Words(words()));
  }

  /**
   * What {@link #text} has made.
   *
   * @throws IllegalArgumentException for anything else
   */
  public static Steering parse(String json) {
    return read(StrictJson.read(json, Words.class).words());
  }

  /** What of it is durable. */
  private record Words(Map<String, String> words) {}

  /** As {@link #read} takes it; what nobody has said is left out. */
  public Map<String, String> words() {
    Map<String, String> words = new LinkedHashMap<>();
    words.put(PAUSED, Boolean.toString(paused));
    words.put(CutOver.OPTION, cutOver.word());
    bandwidth.ifPresent(rate -> words.put(MoveLimits.BANDWIDTH, Long.toString(rate)));
    diskBandwidth.ifPresent(rate -> words.put(MoveLimits.DISK_BANDWIDTH, Long.toString(rate)));
    downtime.ifPresent(time -> words.put(MoveLimits.DOWNTIME, Long.toString(time.toMillis())));
    strategy.ifPresent(chosen -> words.put(STRATEGY, chosen));
    if (stopping) {
      words.put(STOPPING, "true");
    }
    if (letGo) {
      words.put(LET_GO, "true");
    }
    return words;
  }

  /**
   * What {@link #words} has made.
   *
   * @throws IllegalArgumentException for anything else
   */
  public static Steering read(Map<String, String> words) {
    String cutOver = words.getOrDefault(CutOver.OPTION, "");
    return new Steering(
        Boolean.parseBoolean(words.get(PAUSED)),
        CutOver.of(cutOver).orElseThrow(() -> new IllegalArgumentException("cut over " + cutOver)),
        Optional.ofNullable(words.get(MoveLimits.BANDWIDTH)).map(Long::valueOf),
        Optional.ofNullable(words.get(MoveLimits.DISK_BANDWIDTH)).map(Long::valueOf),
        Optional.ofNullable(words.get(MoveLimits.DOWNTIME))
            .map(millis -> Duration.ofMillis(Long.parseLong(millis))),
        Optional.ofNullable(words.get(STRATEGY)),
        Boolean.parseBoolean(words.get(STOPPING)),
        Boolean.parseBoolean(words.get(LET_GO)));
  }

  /**
   * What an operator wants otherwise; what is empty stays as it is.
   *
   * @param bandwidth bytes a second, 0 or more
   * @param diskBandwidth bytes a second, 0 or more
   * @param downtime positive
   * @param strategy {@code log-dirty}, {@code mirror} or {@code auto}
   */
  public record Change(
      Optional<Boolean> paused,
      Optional<CutOver> cutOver,
      Optional<Long> bandwidth,
      Optional<Long> diskBandwidth,
      Optional<Duration> downtime,
      Optional<String> strategy) {

    public static final Change PAUSE = of(Optional.of(true), Optional.empty(), Optional.empty());

    public static final Change RESUME = of(Optional.of(false), Optional.empty(), Optional.empty());

    public static Change of(CutOver when) {
      return of(Optional.empty(), Optional.of(when), Optional.empty());
    }

    public static Change ofStrategy(String strategy) {
      return of(Optional.empty(), Optional.empty(), Optional.of(strategy));
    }

    private static Change of(
        Optional<Boolean> paused, Optional<CutOver> cutOver, Optional<String> strategy) {
      return new Change(
          paused, cutOver, Optional.empty(), Optional.empty(), Optional.empty(), strategy);
    }
  }

  public Steering with(Change change) {
    return new Steering(
        change.paused().orElse(paused),
        change.cutOver().orElse(cutOver),
        change.bandwidth().or(() -> bandwidth),
        change.diskBandwidth().or(() -> diskBandwidth),
        change.downtime().or(() -> downtime),
        change.strategy().or(() -> strategy),
        stopping,
        letGo);
  }

  /** The guest is about to be told to shut down. */
  public Steering nowStopping() {
    return new Steering(paused, cutOver, bandwidth, diskBandwidth, downtime, strategy, true, letGo);
  }

  /** The guest goes on, and nothing of its move can stop it any more. */
  public Steering nowLetGo() {
    return new Steering(
        paused, cutOver, bandwidth, diskBandwidth, downtime, strategy, stopping, true);
  }

  /** Whether the guest must not be stopped yet. */
  public boolean holds(Instant present) {
    return paused || cutOver.holds(present);
  }

  /**
   * The plan as the ports shall have it.
   *
   * @param most how long the guest may stand still where the switch is hurried
   */
  public Plan applied(Plan plan, Duration most) {
    Map<String, String> options = new LinkedHashMap<>(plan.options());
    bandwidth.ifPresent(rate -> options.put(MoveLimits.BANDWIDTH, Long.toString(rate)));
    diskBandwidth.ifPresent(rate -> options.put(MoveLimits.DISK_BANDWIDTH, Long.toString(rate)));
    Optional<Duration> allowed = cutOver.hurried() ? Optional.of(most) : downtime;
    allowed.ifPresent(time -> options.put(MoveLimits.DOWNTIME, Long.toString(time.toMillis())));
    return plan.with(
        plan.disks().stream()
            .map(disk ->
                strategy.isPresent() && plan.running() && !disk.readOnly()
                    ? disk.withStrategy(strategy.get())
                    : disk)
            .toList(),
        options);
  }
}
