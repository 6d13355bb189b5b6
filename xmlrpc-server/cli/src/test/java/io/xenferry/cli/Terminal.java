package io.xenferry.cli;

import io.xenferry.model.XenApiException;
import io.xenferry.spi.XenApi;
import io.xenferry.xe.protocol.Greeting;
import io.xenferry.xe.protocol.Message;
import io.xenferry.xe.protocol.MessageCodec;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.TreeMap;

/** Runs a command through the protocol and keeps what its user would see. */
final class Terminal implements CliEnvironment {
  final FakeXenApi api = new FakeXenApi();
  final FakeXenApi remote = new FakeXenApi();
  final List<String> connected = new ArrayList<>();
  final List<String> forced = new ArrayList<>();
  final List<String> asked = new ArrayList<>();
  final List<Migrations.Obstacle> obstacles = new ArrayList<>();

  /** The VM that they are in the way of; all of them if it is empty. */
  String obstructed = "";

  /** What each move takes. */
  Migrations.Needs needs = Migrations.Needs.NONE;

  boolean preAuthenticated;
  Optional<String> coordinator = Optional.empty();
  private final ByteArrayOutputStream answers = new ByteArrayOutputStream();

  /** What came out: standard output, standard error, Error messages, status. */
  record Result(String out, String err, int status) {}

  /** The user's answer to the next prompt. */
  void type(String line) throws IOException {
    byte[] bytes = line.getBytes(StandardCharsets.UTF_8);
    MessageCodec.write(answers, new Message.Chunk(bytes.length));
    answers.write(bytes);
    MessageCodec.write(answers, new Message.End());
  }

  /** The content of the file that the server loads next. */
  void file(String content) throws IOException {
    MessageCodec.write(answers, new Message.Ok());
    type(content);
  }

  Result xe(String... words) throws IOException {
    List<String> items = new ArrayList<>(List.of(words));
    items.addAll(List.of("username=root", "password=secret"));
    return raw(items);
  }

  Result raw(List<String> items) throws IOException {
    return raw(String.join("\n", items).getBytes(StandardCharsets.UTF_8));
  }

  Result raw(byte[] body) throws IOException {
    ByteArrayOutputStream in = new ByteArrayOutputStream();
    Greeting.OURS.write(in);
    in.writeBytes(answers.toByteArray());
    answers.reset();
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    CliSession.run(body, new ByteArrayInputStream(in.toByteArray()), out, () -> {}, this);
    return read(out.toByteArray());
  }

  private static Result read(byte[] bytes) throws IOException {
    ByteArrayInputStream in = new ByteArrayInputStream(bytes);
    Greeting.read(in);
    StringBuilder out = new StringBuilder();
    StringBuilder err = new StringBuilder();
    while (in.available() > 0) {
      switch (MessageCodec.read(in, 1 << 20)) {
        case Message.Print m -> out.append(m.text()).append('\n');
        case Message.PrintStderr m -> err.append(m.text());
        case Message.ShowError m ->
            err.append(
                "Error code: %s\nError parameters: %s\n"
                    .formatted(m.code(), String.join(", ", m.params())));
        case Message.Exit m -> {
          return new Result(out.toString(), err.toString(), m.code());
        }
        case Message m -> out.append(m).append('\n');
      }
    }
    return new Result(out.toString(), err.toString(), -1);
  }

  @Override
  public XenApi api() {
    return api;
  }

  @Override
  public boolean preAuthenticated() {
    return preAuthenticated;
  }

  @Override
  public String openLocalSession() {
    return FakeXenApi.SESSION;
  }

  @Override
  public Optional<String> coordinatorAddress() {
    return coordinator;
  }

  @Override
  public RemoteServers remoteServers() {
    return (server, fingerprint) -> {
      connected.add(server + fingerprint.map(f -> " " + f).orElse(""));
      return remote;
    };
  }

  @Override
  public Migrations migrations() {
    return new Migrations() {
      @Override
      public List<SequencedMap<String, String>> list(String session) {
        return List.of(row("m1", "COMMITTING"), row("m2", "GIVEN"));
      }

      private static SequencedMap<String, String> row(String uuid, String state) {
        SequencedMap<String, String> row = new LinkedHashMap<>(Map.of("uuid", uuid));
        row.put("vm_uuid", "vm-" + uuid);
        row.put("state", state);
        return row;
      }

      @Override
      public void checkOptions(Map<String, String> options) throws XenApiException {
        if ("sometimes".equals(options.get("strategy"))) {
          throw new XenApiException("INVALID_VALUE", "strategy", "sometimes (allowed: always)");
        }
      }

      @Override
      public List<Obstacle> dryRun(String session, Move move) {
        asked.add(move.toString());
        return obstructed.isEmpty() || move.vm().equals(obstructed) ? obstacles : List.of();
      }

      @Override
      public Needs needs(String session, Move move) {
        return needs;
      }

      @Override
      public List<Obstacle> dryRun(
          String session, String vm, String host, Map<String, String> options) {
        asked.add(vm + " to " + host + " " + options);
        return obstacles;
      }

      @Override
      public SequencedMap<String, String> report(String session, String id) {
        SequencedMap<String, String> lines = new LinkedHashMap<>();
        lines.put("seconds", "12.500");
        lines.put("copying the disks", "10.000 s");
        return lines;
      }

      @Override
      public void steer(String session, String id, Map<String, String> wanted) {
        forced.add("steer " + id + " " + new TreeMap<>(wanted));
      }

      @Override
      public void cancel(String session, String id) {
        forced.add("cancel " + id);
      }

      @Override
      public void forceCommit(String session, String id) throws XenApiException {
        forced.add("commit " + id);
      }

      @Override
      public void forceResume(String session, String id) throws XenApiException {
        forced.add("resume " + id);
      }

      @Override
      public void release(String session, String id) throws XenApiException {
        forced.add("release " + id);
      }

      @Override
      public void acceptRestoredLedger(String session) throws XenApiException {
        forced.add("accept");
      }
    };
  }
}
