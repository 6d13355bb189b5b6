package io.xenferry.bench.chart;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.OptionalDouble;

/**
 * A chart of lines over named places, as SVG text. It has no background and its ink follows the
 * reader's choice of light or dark. Lines are told apart by their dashes and marks as well as by
 * their colours. A point without a value is left out, and its line broken there.
 *
 * @param title over the chart; units belong here
 * @param places along the horizontal axis
 * @param logarithmic whether equal steps upwards are equal factors; values must then be above 0
 */
public record Chart(String title, List<String> places, List<Line> lines, boolean logarithmic) {
  private static final int WIDTH = 640;
  private static final int HEIGHT = 340;
  private static final int LEFT = 56;
  private static final int RIGHT = 470;
  private static final int TOP = 44;
  private static final int BOTTOM = 300;
  private static final int TICKS = 5;

  /** In the middle between light and dark, to be seen on either. */
  private static final List<String> COLOURS =
      List.of(
          "#2f81d8", "#e0662b", "#2c9c5a", "#a45ad1", "#c7892a", "#7f8894", "#d1497a", "#2aa3ad");

  private static final List<String> DASHES = List.of("", "8 4", "2 4", "10 4 2 4");

  private static final String STYLE =
      """
      <style>
        text { font: 12px system-ui, sans-serif; fill: #24292f; }
        .title { font-size: 14px; font-weight: 600; }
        .grid { stroke: #8c959f; stroke-opacity: 0.35; }
        .line { fill: none; stroke-width: 2; }
        @media (prefers-color-scheme: dark) { text { fill: #d9e0e6; } }
      </style>
      """;

  /**
   * @param values one for each place
   */
  public record Line(String name, List<OptionalDouble> values) {}

  public String svg() {
    List<Double> ticks = ticks();
    StringBuilder svg = new StringBuilder();
    svg.append(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\">%n"
            .formatted(WIDTH, HEIGHT));
    svg.append("<title>").append(escaped(title)).append("</title>\n").append(STYLE);
    svg.append(text(LEFT, 22, "start", "title", title));
    for (double tick : ticks) {
      double y = y(tick, ticks);
      svg.append(
          format(
              "<line class=\"grid\" x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\"/>%n",
              LEFT, y, RIGHT, y));
      svg.append(text(LEFT - 8, y + 4, "end", "", label(tick)));
    }
    for (int i = 0; i < places.size(); i++) {
      svg.append(text(x(i), BOTTOM + 20, "middle", "", places.get(i)));
    }
    for (int i = 0; i < lines.size(); i++) {
      line(svg, i, ticks);
    }
    return svg.append("</svg>\n").toString();
  }

  private void line(StringBuilder svg, int number, List<Double> ticks) {
    Line line = lines.get(number);
    String colour = COLOURS.get(number % COLOURS.size());
    String dash = DASHES.get(number % DASHES.size());
    String stroke =
        "stroke=\"" + colour + "\"" + (dash.isEmpty() ? "" : " stroke-dasharray=\"" + dash + "\"");
    StringBuilder points = new StringBuilder();
    List<String> parts = new ArrayList<>();
    for (int i = 0; i < line.values().size(); i++) {
      OptionalDouble value = line.values().get(i);
      if (value.isPresent()) {
        double y = y(value.getAsDouble(), ticks);
        points.append(format("%.1f,%.1f ", x(i), y));
        parts.add(mark(number, x(i), y, colour));
      } else {
        close(svg, points, stroke);
      }
    }
    close(svg, points, stroke);
    parts.forEach(svg::append);
    double y = TOP + 10 + number * 20.0;
    svg.append(
        format(
            "<line class=\"line\" %s x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\"/>%n",
            stroke, RIGHT + 16, y - 4, RIGHT + 44, y - 4));
    svg.append(mark(number, RIGHT + 30, y - 4, colour));
    svg.append(text(RIGHT + 52, y, "start", "", line.name()));
  }

  private static void close(StringBuilder svg, StringBuilder points, String stroke) {
    if (!points.isEmpty()) {
      svg.append(
          "<polyline class=\"line\" %s points=\"%s\"/>%n"
              .formatted(stroke, points.toString().strip()));
      points.setLength(0);
    }
  }

  private static String mark(int number, double x, double y, String colour) {
    return switch (number % 3) {
      case 0 -> format("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"%s\"/>%n", x, y, colour);
      case 1 ->
          format(
              "<rect x=\"%.1f\" y=\"%.1f\" width=\"7\" height=\"7\" fill=\"%s\"/>%n",
              x - 3.5, y - 3.5, colour);
      default -> format("<path d=\"M%.1f %.1f l5 8 h-10 z\" fill=\"%s\"/>%n", x, y - 5, colour);
    };
  }

  private double x(int place) {
    double step = (RIGHT - LEFT) / (double) places.size();
    return LEFT + step * (place + 0.5);
  }

  private double y(double value, List<Double> ticks) {
    double low = scale(ticks.getFirst());
    double high = scale(ticks.getLast());
    return BOTTOM - (scale(value) - low) / (high - low) * (BOTTOM - TOP);
  }

  private double scale(double value) {
    return logarithmic ? Math.log10(value) : value;
  }

  /** Round numbers from at most the smallest value (or 0) to at least the largest. */
  private List<Double> ticks() {
    double[] values =
        lines.stream()
            .flatMap(l -> l.values().stream())
            .flatMapToDouble(OptionalDouble::stream)
            .sorted()
            .toArray();
    double largest = values.length == 0 ? 1 : values[values.length - 1];
    List<Double> ticks = new ArrayList<>();
    if (logarithmic) {
      int low = (int) Math.floor(Math.log10(values.length == 0 ? 1 : values[0]));
      int high = Math.max(low + 1, (int) Math.ceil(Math.log10(largest)));
      for (int power = low; power <= high; power++) {
        ticks.add(Math.pow(10, power));
      }
      return ticks;
    }
    double rough = Math.max(largest, 1e-9) / TICKS;
    double power = Math.pow(10, Math.floor(Math.log10(rough)));
    double step = power;
    for (int factor : new int[] {2, 5, 10}) {
      if (step < rough) {
        step = factor * power;
      }
    }
    for (int i = 0; i == 0 || ticks.getLast() < largest; i++) {
      ticks.add(i * step);
    }
    return ticks;
  }

  private static String label(double tick) {
    return tick == Math.rint(tick)
        ? format("%.0f", tick)
        : format("%.2f", tick).replaceAll("0$", "");
  }

  private static String text(double x, double y, String anchor, String style, String words) {
    return format(
        "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\"%s>%s</text>%n",
        x, y, anchor, style.isEmpty() ? "" : " class=\"" + style + "\"", escaped(words));
  }

  private static String escaped(String text) {
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;");
  }

  private static String format(String pattern, Object... values) {
    return String.format(Locale.ROOT, pattern, values);
  }
}
