package io.xenferry.server.metrics;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class FiguresTest {
  private static final long NOON = 86_400L * 20_000 + 43_200;
  private static final Owner A = new Owner(Owner.Kind.VM, "00000000-0000-4000-8000-00000000000a");
  private static final Owner B = new Owner(Owner.Kind.VM, "00000000-0000-4000-8000-00000000000b");

  @TempDir Path directory;

  private Figures figures() {
    return new Figures(new ArchiveFiles(directory.resolve("rrd")));
  }

  @Test
  void aTableStartsWithTheNewestRowAndReachesBackAsFarAsAsked() {
    Figures figures = figures();
    figures.add(A, "cpu0", NOON, 0.5);
    figures.add(B, "cpu0", NOON + 5, 0.25);
    figures.complete(NOON + 5);
    Figures.Table table =
        figures.table(NOON - 5, 0, Optional.empty(), A::equals, 100).orElseThrow();
    assertThat(table.legend()).containsExactly("AVERAGE:" + A + ":cpu0");
    assertThat(table.start()).isEqualTo(NOON);
    assertThat(table.end()).isEqualTo(NOON + 5);
    assertThat(table.rows()).hasSize(2);
    assertThat(table.rows().get(0)[0]).isNaN();
    assertThat(table.rows().get(1)[0]).isEqualTo(0.5);
    assertThat(figures.table(NOON + 100, 0, Optional.empty(), A::equals, 100).orElseThrow().rows())
        .as("clients break without a row")
        .hasSize(1);
    assertThat(figures.table(NOON, 60, Optional.empty(), A::equals, 100).orElseThrow().legend())
        .containsExactly("AVERAGE:" + A + ":cpu0", "MIN:" + A + ":cpu0", "MAX:" + A + ":cpu0");
    assertThat(figures.table(NOON - 500, 0, Optional.empty(), A::equals, 100)).isEmpty();
  }

  @Test
  void theDocumentsAreWhatClientsRead() {
    Figures figures = figures();
    figures.add(A, "memory", NOON, 1024);
    figures.complete(NOON + 5);
    Figures.Table table =
        figures.table(NOON - 5, 0, Optional.empty(), A::equals, 100).orElseThrow();
    assertThat(Documents.xml(table))
        .isEqualTo(
            "<xport><meta><start>%d</start><step>5</step><end>%d</end><rows>2</rows>"
                    .formatted(NOON, NOON + 5)
                + "<columns>1</columns><legend><entry>AVERAGE:%s:memory</entry></legend></meta>"
                    .formatted(A)
                + "<data><row><t>%d</t><v>NaN</v></row><row><t>%d</t><v>1024</v></row></data>"
                    .formatted(NOON + 5, NOON)
                + "</xport>");
    assertThat(Documents.json(table))
        .isEqualTo(
            "{\"meta\":{\"start\":%d,\"step\":5,\"end\":%d,\"rows\":2,\"columns\":1,"
                    .formatted(NOON, NOON + 5)
                + "\"legend\":[\"AVERAGE:%s:memory\"]},".formatted(A)
                + "\"data\":[{\"t\":%d,\"values\":[\"NaN\"]},{\"t\":%d,\"values\":[1024]}]}"
                    .formatted(NOON + 5, NOON));
  }

  @Test
  void thePastIsKeptInAFileUntilItsOwnerIsGone() throws Exception {
    Figures figures = figures();
    figures.add(A, "cpu0", NOON, 0.5);
    figures.add(A, "memory", NOON, 5);
    figures.forget(A, "memory");
    figures.save(List.of(A), owner -> false);
    assertThat(figures.owners()).isEmpty();
    assertThat(figures.<Integer>with(A, archive -> archive.series.size())).contains(1);

    Figures next = figures();
    next.add(A, "cpu0", NOON + 60, 1);
    next.add(A, "memory", NOON + 60, 6);
    next.complete(NOON + 60);
    Figures.Table table =
        next.table(NOON - 5, 0, Optional.empty(), owner -> true, 1000).orElseThrow();
    assertThat(table.legend()).containsExactly("AVERAGE:" + A + ":cpu0");
    assertThat(table.rows().getFirst()[0]).isEqualTo(1);
    assertThat(table.rows().getLast()[0]).isEqualTo(0.5);

    next.purge(owner -> false);
    assertThat(next.<Integer>with(A, archive -> 1)).isEmpty();
    try (var files = Files.list(directory.resolve("rrd"))) {
      assertThat(files).isEmpty();
    }
  }

  @Test
  void aFileThatIsDamagedCostsThePastOnly() throws Exception {
    Figures figures = figures();
    figures.add(A, "cpu0", NOON, 0.5);
    figures.save(List.of(A), owner -> true);
    Path file = directory.resolve("rrd").resolve("vm-" + A.uuid() + ".rrd");
    byte[] content = Files.readAllBytes(file);
    for (int length : new int[] {0, 1, 20, content.length / 2, content.length - 1}) {
      Files.write(file, java.util.Arrays.copyOf(content, length));
      Figures next = figures();
      next.add(A, "cpu0", NOON + 5, 1);
      assertThat(next.find(A, "cpu0").orElseThrow().value()).hasValue(1);
    }
  }

  @Test
  void aFigureIsForgottenAndWantedAgain() {
    Figures figures = figures();
    figures.add(A, "cpu0", NOON, 0.5);
    assertThat(figures.forget(A, "cpu1")).isFalse();
    assertThat(figures.forget(A, "cpu0")).isTrue();
    figures.add(A, "cpu0", NOON + 5, 0.75);
    assertThat(figures.list(A))
        .containsExactly(new Figures.Listed("cpu0", false, java.util.OptionalDouble.of(0.75)));
    assertThat(figures.<Integer>with(A, archive -> archive.series.size())).contains(0);
    assertThat(figures.want(A, "cpu0")).isTrue();
    figures.add(A, "cpu0", NOON + 10, 1);
    assertThat(figures.<Integer>with(A, archive -> archive.series.size())).contains(1);
    assertThat(figures.want(B, "cpu0")).isFalse();
  }

  @Test
  void thereAreNoMoreSeriesThanItSays() {
    Figures figures = figures();
    Owner host = new Owner(Owner.Kind.HOST, "00000000-0000-4000-8000-000000000001");
    for (int i = 0; i < 2 * Archive.LIMIT; i++) {
      figures.add(host, "cpu" + i, NOON, 1);
    }
    assertThat(figures.list(host)).hasSize(Archive.LIMIT);
    figures.add(host, "<script>", NOON, 1);
    assertThat(figures.list(host)).noneMatch(one -> one.name().contains("<"));
  }
}
