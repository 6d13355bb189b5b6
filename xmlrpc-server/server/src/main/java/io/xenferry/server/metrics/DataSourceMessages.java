package io.xenferry.server.metrics;

import io.xenferry.model.VM;
import io.xenferry.model.Value;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;
import io.xenferry.server.metrics.Figures.Listed;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/**
 * The figures of an object one by one: which there are, the value of one now, and whether its past
 * is kept. Of what does not run here there are none.
 */
final class DataSourceMessages {
  private static final String TEST = "RrdTest.";

  /** Seconds. */
  private static final int LONGEST = 24 * 3600;

  private final Figures figures;

  DataSourceMessages(Figures figures) {
    this.figures = figures;
  }

  void register(Registry r) {
    r.implement("host.backup_rrds", this::save, TEST + "figuresAreWrittenWhenAskedFor");
    for (Owner.Kind kind : Owner.Kind.values()) {
      String name = kind.className();
      r.implement(
          name + ".get_data_sources", c -> list(c, kind), TEST + "dataSourcesAreListedAndAsked");
      r.implement(
          name + ".query_data_source", c -> query(c, kind), TEST + "dataSourcesAreListedAndAsked");
      r.implement(
          name + ".record_data_source", c -> record(c, kind), TEST + "thePastOfAFigureIsForgotten");
      r.implement(
          name + ".forget_data_source_archives",
          c -> forget(c, kind),
          TEST + "thePastOfAFigureIsForgotten");
    }
  }

  /**
   * Writes all figures to their files, after some time.
   *
   * @throws XenApiException INVALID_VALUE for a time that is none, or longer than a day
   */
  private Value save(Call c) throws XenApiException {
    c.server().db().snapshot().require("host", c.text(0));
    double seconds = c.arg(1) instanceof Value.Real(double number) ? number : Double.NaN;
    if (!(seconds >= 0 && seconds <= LONGEST)) {
      throw new XenApiException("INVALID_VALUE", "delay", Double.toString(seconds));
    }
    Runnable saving = () -> figures.save(figures.owners(), owner -> true);
    if (seconds == 0) {
      saving.run();
    } else {
      CompletableFuture.delayedExecutor((long) (seconds * 1000), TimeUnit.MILLISECONDS)
          .execute(saving);
    }
    return Value.VOID;
  }

  private static Owner owner(Call c, Owner.Kind kind) throws XenApiException {
    Snapshot db = c.server().db().snapshot();
    Row row = db.require(kind.className(), c.text(0));
    if (kind == Owner.Kind.VM) {
      VmPowerState state = db.get(c.<VM>ref(0), VM.POWER_STATE);
      if (state != VmPowerState.RUNNING && state != VmPowerState.PAUSED) {
        throw new XenApiException("VM_BAD_POWER_STATE", row.ref(), "running", state.wire());
      }
    }
    return new Owner(kind, c.server().schema().text(row, "uuid"));
  }

  private Value list(Call c, Owner.Kind kind) throws XenApiException {
    return new Value.Array(
        figures.list(owner(c, kind)).stream().map(one -> value(one, kind)).toList());
  }

  /** What nothing bounds has a maximum of infinity, which the wire shows as 0. */
  private static Value value(Listed one, Owner.Kind kind) {
    Source source = Source.of(kind, one.name());
    Map<String, Value> fields = new LinkedHashMap<>();
    fields.put("name_label", Value.of(one.name()));
    fields.put("name_description", Value.of(source.description()));
    fields.put("enabled", Value.of(one.enabled()));
    fields.put("standard", Value.of(true));
    fields.put("units", Value.of(source.units()));
    fields.put("min", Value.of(0.0));
    fields.put("max", Value.of(source.most()));
    fields.put("value", Value.of(one.value().orElse(Double.NaN)));
    return Value.Struct.of(fields);
  }

  private Value query(Call c, Owner.Kind kind) throws XenApiException {
    return Value.of(
        figures
            .find(owner(c, kind), c.text(1))
            .orElseThrow(() -> unknown(c))
            .value()
            .orElse(Double.NaN));
  }

  private Value record(Call c, Owner.Kind kind) throws XenApiException {
    if (!figures.want(owner(c, kind), c.text(1))) {
      throw unknown(c);
    }
    return Value.VOID;
  }

  private Value forget(Call c, Owner.Kind kind) throws XenApiException {
    if (!figures.forget(owner(c, kind), c.text(1))) {
      throw unknown(c);
    }
    return Value.VOID;
  }

  private static XenApiException unknown(Call c) {
    return new XenApiException("INVALID_VALUE", "data_source", c.text(1));
  }
}
