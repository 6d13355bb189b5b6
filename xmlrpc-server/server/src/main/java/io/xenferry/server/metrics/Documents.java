package io.xenferry.server.metrics;

import io.xenferry.server.metrics.Figures.Table;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.LongConsumer;

/**
 * Figures as clients read them: {@code xport}, what is new since a time, and {@code rrd}, all there
 * is of one owner; either as XML or as JSON. Names hold nothing that would have to be escaped.
 */
final class Documents {
  private static final String VERSION = "0003";

  private Documents() {}

  static String xml(Table table) {
    StringBuilder b = new StringBuilder("<xport><meta><start>").append(table.start());
    b.append("</start><step>").append(table.step()).append("</step><end>").append(table.end());
    b.append("</end><rows>").append(table.rows().size()).append("</rows><columns>");
    b.append(table.legend().size()).append("</columns><legend>");
    table.legend().forEach(name -> b.append("<entry>").append(name).append("</entry>"));
    b.append("</legend></meta><data>");
    long time = table.end();
    for (double[] row : table.rows()) {
      b.append("<row><t>").append(time).append("</t>");
      for (double value : row) {
        b.append("<v>").append(number(value)).append("</v>");
      }
      b.append("</row>");
      time -= table.step();
    }
    return b.append("</data></xport>").toString();
  }

  static String json(Table table) {
    StringBuilder b = new StringBuilder("{\"meta\":{\"start\":").append(table.start());
    b.append(",\"step\":").append(table.step()).append(",\"end\":").append(table.end());
    b.append(",\"rows\":").append(table.rows().size()).append(",\"columns\":");
    b.append(table.legend().size()).append(",\"legend\":[");
    b.append(String.join(",", table.legend().stream().map(name -> '"' + name + '"').toList()));
    b.append("]},\"data\":[");
    long time = table.end();
    for (int i = 0; i < table.rows().size(); i++) {
      b.append(i == 0 ? "" : ",").append("{\"t\":").append(time).append(",\"values\":");
      values(b, table.rows().get(i));
      b.append('}');
      time -= table.step();
    }
    return b.append("]}").toString();
  }

  private static void values(StringBuilder b, double[] row) {
    b.append('[');
    for (int i = 0; i < row.length; i++) {
      b.append(i == 0 ? "" : ",").append(quoted(row[i]));
    }
    b.append(']');
  }

  /** JSON has no NaN and no infinity; clients take words for them. */
  private static String quoted(double value) {
    return Double.isFinite(value) ? number(value) : '"' + number(value) + '"';
  }

  private static String number(double value) {
    return value == Math.rint(value) && Math.abs(value) < 1e15
        ? Long.toString((long) value)
        : Double.toString(value);
  }

  /** One of an archive's round-robin archives. */
  private record Rra(int span, Consolidation way) {
    int perRow() {
      return Span.ALL.get(span).step() / Span.BASE;
    }

    /** How much of a row may be unknown. */
    String unknown() {
      return span == 0 ? "0.5" : "1.0";
    }

    /** Oldest first. */
    void forEachTime(long end, LongConsumer time) {
      Span of = Span.ALL.get(span);
      long newest = end / of.step() * of.step();
      for (int i = of.rows() - 1; i >= 0; i--) {
        time.accept(newest - (long) i * of.step());
      }
    }
  }

  private static List<Rra> rras() {
    List<Rra> all = new ArrayList<>();
    for (int span = 0; span < Span.ALL.size(); span++) {
      for (Consolidation way : Consolidation.values()) {
        if (span > 0 || way == Consolidation.AVERAGE) {
          all.add(new Rra(span, way));
        }
      }
    }
    return all;
  }

  /**
   * @param kind whose they are
   */
  static String rrdXml(Archive archive, Owner.Kind kind) {
    StringBuilder b = new StringBuilder("<?xml version=\"1.0\"?><rrd><version>").append(VERSION);
    b.append("</version><step>").append(Span.BASE).append("</step><lastupdate>");
    b.append(archive.updated()).append("</lastupdate>");
    archive.series.forEach((name, series) -> {
      double last = archive.latest.getOrDefault(name, Double.NaN);
      b.append("<ds><name>").append(name).append("</name><type>GAUGE</type>");
      b.append("<minimal_heartbeat>300</minimal_heartbeat><min>0</min><max>");
      b.append(number(Source.of(kind, name).most())).append("</max><last_ds>");
      b.append(number(last)).append("</last_ds><value>0</value><unknown_sec>0</unknown_sec></ds>");
    });
    for (Rra rra : rras()) {
      b.append("<rra><cf>").append(rra.way()).append("</cf><pdp_per_row>");
      b.append(rra.perRow()).append("</pdp_per_row><params><xff>").append(rra.unknown());
      b.append("</xff></params><cdp_prep>");
      archive
          .series
          .keySet()
          .forEach(name ->
              b.append("<ds><primary_value>0</primary_value><secondary_value>0</secondary_value>")
                  .append("<value>0</value><unknown_datapoints>0</unknown_datapoints></ds>"));
      b.append("</cdp_prep><database>");
      rra.forEachTime(
          archive.updated(),
          time -> {
            b.append("<row>");
            for (Series series : archive.series.values()) {
              b.append("<v>").append(number(series.get(rra.span(), rra.way(), time)));
              b.append("</v>");
            }
            b.append("</row>");
          });
      b.append("</database></rra>");
    }
    return b.append("</rrd>").toString();
  }

  /** The same. */
  static String rrdJson(Archive archive, Owner.Kind kind) {
    StringBuilder b = new StringBuilder("{\"version\":\"").append(VERSION);
    b.append("\",\"step\":").append(Span.BASE).append(",\"lastupdate\":");
    b.append(archive.updated()).append(",\"ds\":[");
    List<String> sources = new ArrayList<>();
    List<String> preparations = new ArrayList<>();
    for (Map.Entry<String, Series> one : archive.series.entrySet()) {
      sources.add(
          "{\"name\":\"%s\",\"type\":\"GAUGE\",\"minimal_heartbeat\":300,\"min\":0,\"max\":%s,"
                  .formatted(one.getKey(), quoted(Source.of(kind, one.getKey()).most()))
              + "\"last_ds\":\"%s\",\"value\":0,\"unknown_sec\":0}"
                  .formatted(number(archive.latest.getOrDefault(one.getKey(), Double.NaN))));
      preparations.add(
          "{\"primary_value\":0,\"secondary_value\":0,\"value\":0,\"unknown_datapoints\":0}");
    }
    b.append(String.join(",", sources)).append("],\"rra\":[");
    String between = "";
    for (Rra rra : rras()) {
      b.append(between).append("{\"cf\":\"").append(rra.way()).append("\",\"pdp_per_row\":");
      b.append(rra.perRow()).append(",\"params\":{\"xff\":").append(rra.unknown());
      b.append("},\"cdp_prep\":{\"ds\":[").append(String.join(",", preparations));
      b.append("]},\"database\":[");
      rra.forEachTime(
          archive.updated(),
          time -> {
            values(
                b,
                archive.series.values().stream()
                    .mapToDouble(series -> series.get(rra.span(), rra.way(), time))
                    .toArray());
            b.append(',');
          });
      b.setLength(b.length() - 1);
      b.append("]}");
      between = ",";
    }
    return b.append("]}").toString();
  }
}
