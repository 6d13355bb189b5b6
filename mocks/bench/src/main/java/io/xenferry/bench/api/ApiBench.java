package io.xenferry.bench.api;

import io.xenferry.bench.chart.Chart;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.concurrent.Callable;
import java.util.function.ToDoubleFunction;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * What calls cost. Each server has a process of its own, and so has what puts load on it; both
 * share this machine. Beside our server, in turn: a Jetty that answers the bytes that ours
 * answered, whatever it is asked, and the XML-RPC library's own server with a handler that does
 * nothing.
 */
@Command(
    name = "api",
    description = {
      "XenAPI calls: against a Jetty that always answers the same bytes, and against the XML-RPC",
      "library's own server with an empty handler; and how their cost grows with the VMs there are."
    },
    version = "XenFerry ${sys:xenferry.version:-of an unknown version}",
    mixinStandardHelpOptions = true)
public final class ApiBench implements Callable<Integer> {
  private static final String LOAD = Load.class.getName();

  /** Of each measurement; and of each server, which has to compile what it runs often, before. */
  private static final double WARM_UP_SECONDS = 1;

  private static final double FIRST_SECONDS = 15;
  private static final int EVENT_ROUNDS = 15;

  @Option(
      names = "--seconds",
      paramLabel = "S",
      description = "How long each is measured, in each round (default: ${DEFAULT-VALUE}).",
      defaultValue = "4")
  private double seconds = 4;

  @Option(
      names = "--rounds",
      paramLabel = "N",
      description = "How often each is measured, in turn (default: ${DEFAULT-VALUE}).",
      defaultValue = "3")
  private int rounds = 3;

  @Option(
      names = "--connections",
      paramLabel = "N",
      description = "Connections that call at once (default: ${DEFAULT-VALUE}).",
      defaultValue = "8")
  private int connections = 8;

  @Option(
      names = "--vms",
      paramLabel = "N",
      split = ",",
      description = "Numbers of VMs, rising (default: 10,100,1000,10000).")
  private List<Integer> sizes = List.of(10, 100, 1000, 10_000);

  @Option(
      names = "--clients",
      paramLabel = "N",
      split = ",",
      description = "Numbers of clients that wait for an event (default: 1,100,1000).")
  private List<Integer> clients = List.of(1, 100, 1000);

  @Option(
      names = "--svg",
      paramLabel = "DIR",
      description = "Writes a chart of the growth into this directory.")
  private Optional<Path> svg = Optional.empty();

  /**
   * Calls a second, and milliseconds that half and 99 of 100 calls stay below; bytes of a reply.
   */
  private record Speed(double rate, double median, double p99, double bytes) {
    static Speed of(double[] figures) {
      return new Speed(figures[0], figures[1], figures[2], figures[3]);
    }
  }

  /** What one size came to. */
  private record Growth(
      int vms, Speed record, Speed all, Speed single, Speed grouped, double memory, double most) {}

  @Override
  public Integer call() throws Exception {
    if (rounds < 1 || seconds <= 0 || connections < 1 || sizes.isEmpty() || rising()) {
      System.err.println("at least one round, some time, one connection, and rising numbers");
      return 2;
    }
    Path work = Files.createTempDirectory("xenferry-bench");
    try {
      List<Growth> growth = new ArrayList<>();
      Path state = work.resolve("state");
      try (ApiServer server = ApiServer.start(state)) {
        int made = 0;
        for (int size : sizes) {
          server.grow(made, size);
          if (made == 0) {
            beside(server, work);
            server.logIn();
            events(server);
          }
          made = size;
          growth.add(growth(server, work, size));
        }
      }
      table(growth);
      try (ApiServer again = ApiServer.start(state)) {
        System.out.printf(
            Locale.ROOT,
            "start with %d VMs: ready after %.2f s, first login answered after %.2f s, %.0f MB%n",
            sizes.getLast(),
            again.startSeconds(),
            again.firstAnswerSeconds(),
            again.program().memory(false));
      }
      if (svg.isPresent()) {
        chart(growth, svg.get());
      }
      return 0;
    } catch (IOException e) {
      System.err.println(e.getMessage());
      return 1;
    } finally {
      delete(work);
    }
  }

  private boolean rising() {
    for (int i = 1; i < sizes.size(); i++) {
      if (sizes.get(i) <= sizes.get(i - 1)) {
        return true;
      }
    }
    return sizes.getFirst() < 1;
  }

  private Speed load(int port, Path request, int callers) throws Exception {
    return load(port, request, callers, WARM_UP_SECONDS);
  }

  private Speed load(int port, Path request, int callers, double before) throws Exception {
    return Speed.of(
        Program.run(
            LOAD,
            List.of(
                Integer.toString(port),
                request.toString(),
                Integer.toString(callers),
                Double.toString(before),
                Double.toString(seconds))));
  }

  private static Path file(Path work, String name, byte[] bytes) throws IOException {
    return Files.write(work.resolve(name), bytes);
  }

  private static Path request(Path work, String name, String method, String... params)
      throws IOException {
    return file(work, name, Connection.request(Call.xml(method, params)));
  }

  private void beside(ApiServer server, Path work) throws Exception {
    String vm = server.vm();
    Map<String, Path> calls = new LinkedHashMap<>();
    calls.put("VM.get_record", request(work, "record", "VM.get_record", server.session(), vm));
    calls.put(
        "session.login",
        request(work, "login", ApiServer.LOGIN, "root", server.password(), "1.0", "bench"));
    System.out.printf("%-34s %10s %10s %10s%n", "", "calls/s", "median ms", "p99 ms");
    for (Map.Entry<String, Path> call : calls.entrySet()) {
      byte[] reply;
      try (Connection connection = new Connection(server.port())) {
        reply = connection.exchange(Files.readAllBytes(call.getValue()));
      }
      List<Speed> ours = new ArrayList<>();
      List<Speed> fixed = new ArrayList<>();
      List<Speed> empty = new ArrayList<>();
      try (Program jetty =
              Program.server(
                  List.of(),
                  FixedReply.class.getName(),
                  List.of(file(work, "reply", reply).toString()));
          Program library = Program.server(List.of(), EmptyHandler.class.getName(), List.of())) {
        for (int port : List.of(server.port(), port(jetty), port(library))) {
          load(port, call.getValue(), connections, FIRST_SECONDS);
        }
        for (int round = 0; round < rounds; round++) {
          for (int i = 0; i < 3; i++) {
            switch ((i + round) % 3) {
              case 0 -> ours.add(load(server.port(), call.getValue(), connections));
              case 1 -> fixed.add(load(port(jetty), call.getValue(), connections));
              default -> empty.add(load(port(library), call.getValue(), connections));
            }
          }
        }
      }
      line(call.getKey() + ", XenFerry", ours);
      line("the same bytes by Jetty", fixed);
      line("an empty handler of the library", empty);
      System.out.printf(
          Locale.ROOT,
          "ratio %s over jetty: %.2f  our calls a second over those of the fixed reply%n",
          call.getKey(),
          median(ours, Speed::rate) / median(fixed, Speed::rate));
      System.out.printf(
          Locale.ROOT,
          "ratio %s over library: %.2f  our calls a second over those of the empty handler%n",
          call.getKey(),
          median(ours, Speed::rate) / median(empty, Speed::rate));
    }
  }

  private static int port(Program program) {
    return Integer.parseInt(program.ready().substring("ready ".length()));
  }

  private static void line(String name, List<Speed> speeds) {
    System.out.printf(
        Locale.ROOT,
        "%-34s %10.0f %10.2f %10.2f%n",
        name,
        median(speeds, Speed::rate),
        median(speeds, Speed::median),
        median(speeds, Speed::p99));
  }

  private static double median(List<Speed> speeds, ToDoubleFunction<Speed> figure) {
    double[] sorted = speeds.stream().mapToDouble(figure).sorted().toArray();
    return sorted[sorted.length / 2];
  }

  private void events(ApiServer server) throws Exception {
    System.out.printf(
        "%-34s %10s %10s %10s%n", "from a change to its event", "first ms", "median ms", "last ms");
    for (int waiting : clients) {
      double[] figures =
          Program.run(
              Waiters.class.getName(),
              List.of(
                  Integer.toString(server.port()),
                  server.session(),
                  server.vm(),
                  Integer.toString(waiting),
                  Integer.toString(EVENT_ROUNDS)));
      System.out.printf(
          Locale.ROOT,
          "%-34s %10.2f %10.2f %10.2f%n",
          waiting + (waiting == 1 ? " client waits" : " clients wait"),
          figures[0],
          figures[1],
          figures[2]);
    }
  }

  private Growth growth(ApiServer server, Path work, int size) throws Exception {
    String vm = server.vm();
    Path change =
        request(work, "change", "VM.set_name_description", server.session(), vm, "something");
    Path all = request(work, "all", "VM.get_all_records", server.session());
    Speed record =
        load(
            server.port(),
            request(work, "record", "VM.get_record", server.session(), vm),
            connections);
    Speed records = load(server.port(), all, 1);
    return new Growth(
        size,
        record,
        records,
        load(server.port(), change, 1),
        load(server.port(), change, connections),
        server.program().memory(false),
        server.program().memory(true));
  }

  private void table(List<Growth> growth) {
    System.out.printf(
        "%8s %16s %20s %12s %14s %14s %9s %9s%n",
        "VMs",
        "get_record/s",
        "get_all_records ms",
        "MB/s",
        "commits/s by 1",
        "by " + connections,
        "MB",
        "most MB");
    for (Growth g : growth) {
      System.out.printf(
          Locale.ROOT,
          "%8d %16.0f %20.1f %12.1f %14.0f %14.0f %9.0f %9.0f%n",
          g.vms,
          g.record.rate(),
          g.all.median(),
          g.all.rate() * g.all.bytes() / 1e6,
          g.single.rate(),
          g.grouped.rate(),
          g.memory,
          g.most);
    }
  }

  private static void chart(List<Growth> growth, Path directory) throws IOException {
    Files.createDirectories(directory);
    List<String> places = growth.stream().map(g -> Integer.toString(g.vms)).toList();
    Files.writeString(
        directory.resolve("api-growth.svg"),
        new Chart(
                "Calls a second, over the number of VMs",
                places,
                List.of(
                    line("get_record", growth, g -> g.record.rate()),
                    line("get_all_records", growth, g -> g.all.rate()),
                    line("commits, 1 client", growth, g -> g.single.rate()),
                    line("commits, several", growth, g -> g.grouped.rate())),
                true)
            .svg(),
        StandardCharsets.UTF_8);
  }

  private static Chart.Line line(
      String name, List<Growth> growth, ToDoubleFunction<Growth> figure) {
    return new Chart.Line(
        name, growth.stream().map(g -> OptionalDouble.of(figure.applyAsDouble(g))).toList());
  }

  private static void delete(Path directory) throws IOException {
    try (Stream<Path> all = Files.walk(directory)) {
      for (Path path : all.sorted(Comparator.reverseOrder()).toList()) {
        Files.delete(path);
      }
    }
  }
}
