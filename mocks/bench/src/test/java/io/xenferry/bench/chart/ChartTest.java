package io.xenferry.bench.chart;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.StringReader;
import java.util.List;
import java.util.OptionalDouble;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Test;
import org.w3c.dom.Document;
import org.w3c.dom.Element;
import org.w3c.dom.NodeList;
import org.xml.sax.InputSource;

class ChartTest {

  private static OptionalDouble at(double value) {
    return OptionalDouble.of(value);
  }

  private static NodeList elements(Chart chart, String name) throws Exception {
    Document document =
        DocumentBuilderFactory.newInstance()
            .newDocumentBuilder()
            .parse(new InputSource(new StringReader(chart.svg())));
    return document.getElementsByTagName(name);
  }

  @Test
  void aMissingValueBreaksTheLine() throws Exception {
    Chart chart =
        new Chart(
            "time & <space>",
            List.of("a", "b", "c", "d"),
            List.of(new Chart.Line("x", List.of(at(1), at(2), OptionalDouble.empty(), at(4)))),
            false);

    NodeList lines = elements(chart, "polyline");

    assertThat(lines.getLength()).isEqualTo(2);
    assertThat(((Element) lines.item(0)).getAttribute("points").split(" ")).hasSize(2);
  }

  @Test
  void higherValuesAreFurtherUpAndWithinTheChart() throws Exception {
    for (boolean logarithmic : new boolean[] {false, true}) {
      Chart chart =
          new Chart(
              "t",
              List.of("a", "b", "c"),
              List.of(new Chart.Line("x", List.of(at(0.7), at(30), at(420)))),
              logarithmic);

      NodeList marks = elements(chart, "circle");

      double before = 341;
      for (int i = 0; i < 3; i++) {
        double y = Double.parseDouble(((Element) marks.item(i)).getAttribute("cy"));
        assertThat(y).isLessThan(before).isBetween(40.0, 301.0);
        before = y;
      }
    }
  }

  @Test
  void aChartOfNothingIsStillOne() throws Exception {
    assertThat(elements(new Chart("t", List.of("a"), List.of(), true), "svg").getLength()).isOne();
  }
}
