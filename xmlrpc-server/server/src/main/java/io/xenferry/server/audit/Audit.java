package io.xenferry.server.audit;

import io.xenferry.model.DataModel;
import io.xenferry.model.FieldDef;
import io.xenferry.model.MessageDef;
import io.xenferry.model.Type;
import io.xenferry.model.Value;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.server.session.Session;
import io.xenferry.server.session.Sessions;
import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Clock;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * Notes each call and each request that does more than read, in the words of published servers:
 *
 * <pre>
 * [20261122T15:59:02.123Z|audit|HOST|THREAD ADDRESS|VM.start|audit]
 *   ('trackid=…' 'LOCAL_SUPERUSER' 'root' 'ALLOWED' 'OK' 'API' 'VM.start' (('vm' 'web' 'UUID' 'OpaqueRef:…')))
 * </pre>
 *
 * <p>A line each. Of the arguments only those are in it that name things: objects that exist, and
 * texts that are for people. What a password, a key or a session could be in is left out, and so is
 * what an error says beside its code; a session is told by a digest. Thread-safe.
 */
public final class Audit implements Closeable, Sessions.Witness {
  /** Bytes of all files together: a quarter of a million calls. */
  private static final long FILE_BYTES = 8L << 20;

  private static final int FILES = 8;

  private static final DateTimeFormatter TIME =
      DateTimeFormatter.ofPattern("yyyyMMdd'T'HH:mm:ss.SSS'Z'").withZone(ZoneOffset.UTC);

  private static final String ROOT = "LOCAL_SUPERUSER";

  /** Parameters and members that hold words for people, and of which classes these are. */
  private static final Set<String> WORDS =
      Set.of(
          "name",
          "label",
          "description",
          "name_label",
          "name_description",
          "new_name",
          "uname",
          "originator",
          "plugin",
          "fn",
          "subject_identifier",
          "auth_type",
          "service_name",
          "hostname",
          "driver_type",
          "type");

  /** These have lines of their own, or one would be written every few seconds by each client. */
  private static final Set<String> UNTOLD =
      Set.of(
          "session.login_with_password",
          "session.logout",
          "session.local_logout",
          "event.next",
          "event.from",
          "event.register",
          "event.unregister");

  /** The same of requests. */
  private static final Set<String> UNTOLD_REQUESTS =
      Set.of("rrd_updates", "vm_rrd", "host_rrd", "sr_rrd", "get_vm_rrds", "get_host_rrds");

  /** Of a text; of a set of objects; of a whole line. */
  private static final int LONGEST_TEXT = 200;

  private static final int MOST_OBJECTS = 20;
  private static final int LONGEST_LINE = 8 << 10;

  private final AuditLog log;
  private final ObjectDatabase db;
  private final Clock clock;
  private final String host;

  /**
   * @param directory of the files
   * @param host this one's name
   */
  public Audit(Path directory, ObjectDatabase db, Clock clock, String host) throws IOException {
    this.db = db;
    this.clock = clock;
    this.host = host;
    this.log =
        new AuditLog(
            directory,
            FILE_BYTES,
            FILES,
            lost -> line("", "audit", "('' '' '' '' 'LOST:" + lost + "' 'API' 'audit.lost' ())"));
  }

  /** What somebody has begun, which may, and of which one line is written when it has ended. */
  public final class Entry {
    private final String who;
    private final String address;
    private final String type;
    private final String action;
    private final String arguments;

    private Entry(String who, String address, String type, String action, String arguments) {
      this.who = who;
      this.address = address;
      this.type = type;
      this.action = action;
      this.arguments = arguments;
    }

    public void done() {
      write("ALLOWED", "OK");
    }

    /**
     * @param code of the error, or the status of the answer
     */
    public void failed(String code) {
      write("ALLOWED", "ERROR:" + code);
    }

    public void denied() {
      write("DENIED", "");
    }

    private void write(String verdict, String outcome) {
      StringBuilder text = new StringBuilder(256).append('(').append(who);
      for (String word : List.of(verdict, outcome, type, action)) {
        quote(text.append(' '), word);
      }
      log.append(line(address, action, text.append(' ').append(arguments).append(')').toString()));
    }
  }

  /**
   * A call, before it changes what its arguments name; nothing for one that only reads.
   *
   * @param address where it came from
   */
  public Optional<Entry> call(MessageDef m, List<Value> args, Session session, String address) {
    if (m.name().startsWith("get_") || m.name().equals("get") || UNTOLD.contains(m.wireName())) {
      return Optional.empty();
    }
    return Optional.of(new Entry(who(session), address, "API", m.wireName(), arguments(m, args)));
  }

  /**
   * A request beside the calls; nothing for those that are made every few seconds.
   *
   * @param action as the data model names it
   * @param session nobody's for whoever came over the Unix socket
   * @param query what of the address may be told
   */
  public Optional<Entry> request(
      String action, Optional<Session> session, Map<String, String> query, String address) {
    if (UNTOLD_REQUESTS.contains(action)) {
      return Optional.empty();
    }
    List<String> arguments =
        query.entrySet().stream().map(e -> argument(e.getKey(), e.getValue(), "", "")).toList();
    String who = session.map(Audit::who).orElseGet(() -> who("", ROOT, "root"));
    return Optional.of(
        new Entry(who, address, "HTTP", "http/" + action, "(" + String.join(" ", arguments) + ")"));
  }

  @Override
  public void opened(Session session) {
    session(session, "session.create");
  }

  @Override
  public void ended(Session session) {
    session(session, "session.destroy");
  }

  private void session(Session session, String action) {
    new Entry(who(session), "", "API", action, login(session.user(), session.origin())).done();
  }

  @Override
  public void refused(String user, String originator, String code) {
    Entry entry =
        new Entry(who("", "", user), "", "API", "session.create", login(user, originator));
    entry.write("DENIED", "ERROR:" + code);
  }

  private static String login(String user, String originator) {
    return "("
        + argument("uname", user, "", "")
        + " "
        + argument("originator", originator, "", "")
        + ")";
  }

  /** The lines that there are, the oldest first. */
  public InputStream read() throws IOException {
    return log.read();
  }

  private static String who(Session session) {
    String subject =
        switch (session.rights()) {
          case Session.Superuser s -> ROOT;
          case Session.Role r -> r.subject();
          case Session.Restricted r -> "";
        };
    return who("trackid=" + digest(session.ref()), subject, session.user());
  }

  private static String who(String track, String subject, String name) {
    StringBuilder text = new StringBuilder();
    quote(text, track);
    quote(text.append(' '), subject);
    quote(text.append(' '), name);
    return text.toString();
  }

  /** By which the lines of a session are known, without what would let anybody use it. */
  private static String digest(String ref) {
    try {
      byte[] hash =
          MessageDigest.getInstance("SHA-256").digest(ref.getBytes(StandardCharsets.UTF_8));
      return HexFormat.of().formatHex(Arrays.copyOf(hash, 16));
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }

  private String arguments(MessageDef m, List<Value> args) {
    List<String> told = new ArrayList<>();
    for (int i = 0; i < Math.min(args.size(), m.params().size()); i++) {
      MessageDef.Param p = m.params().get(i);
      if (p.type() instanceof Type.RecordOf(String className)
          && args.get(i) instanceof Value.Struct(var members)) {
        for (FieldDef f : DataModel.classDef(className).constructorFields()) {
          Value member = members.get(f.name());
          if (member != null) {
            told.addAll(argument(f.name(), f.type(), member));
          }
        }
      } else {
        told.addAll(argument(p.name(), p.type(), args.get(i)));
      }
    }
    return "(" + String.join(" ", told) + ")";
  }

  private List<String> argument(String name, Type type, Value value) {
    if (type instanceof Type.RefTo(String className) && value instanceof Value.Text(String ref)) {
      return object(name, className, ref).stream().toList();
    }
    if (type instanceof Type.SetOf(Type.RefTo(String className))
        && value instanceof Value.Array(List<Value> items)) {
      List<String> told = new ArrayList<>();
      for (Value item : items.subList(0, Math.min(items.size(), MOST_OBJECTS))) {
        told.addAll(argument(name, new Type.RefTo(className), item));
      }
      return told;
    }
    if (WORDS.contains(name) && value instanceof Value.Text(String text)) {
      return List.of(argument(name, text, "", ""));
    }
    return List.of();
  }

  /** One that exists; what does not could be anything, and a session is a secret. */
  private Optional<String> object(String name, String className, String ref) {
    if (className.equals("session") || !DataModel.classDef(className).inDatabase()) {
      return Optional.empty();
    }
    return db.snapshot()
        .row(className, ref)
        .map(row -> argument(name, text(row, "name_label"), text(row, "uuid"), ref));
  }

  private static String text(Row row, String field) {
    return DataModel.field(row.className(), field)
        .map(row::get)
        .map(v -> v instanceof Value.Text(String text) ? text : "")
        .orElse("");
  }

  private static String argument(String name, String value, String uuid, String ref) {
    StringBuilder text = new StringBuilder().append('(');
    quote(text, name);
    quote(text.append(' '), value);
    quote(text.append(' '), uuid);
    quote(text.append(' '), ref);
    return text.append(')').toString();
  }

  private String line(String address, String action, String text) {
    String line =
        "["
            + TIME.format(clock.instant())
            + "|audit|"
            + plain(host)
            + "|"
            + Thread.currentThread().threadId()
            + " "
            + plain(address)
            + "|"
            + action
            + "|audit] "
            + text;
    return line.length() > LONGEST_LINE ? line.substring(0, LONGEST_LINE) : line;
  }

  /** Nothing that could end a field of a line's head. */
  private static String plain(String text) {
    StringBuilder plain = new StringBuilder(text.length());
    for (int i = 0; i < text.length(); i++) {
      char c = clean(text.charAt(i));
      plain.append(c == '|' || c == '[' || c == ']' ? '_' : c);
    }
    return plain.toString();
  }

  private static void quote(StringBuilder to, String text) {
    to.append('\'');
    for (int i = 0; i < Math.min(text.length(), LONGEST_TEXT); i++) {
      char c = clean(text.charAt(i));
      if (c == '\\' || c == '\'' || c == '"') {
        to.append('\\');
      }
      to.append(c);
    }
    to.append(text.length() > LONGEST_TEXT ? "…'" : "'");
  }

  /** Nobody shall write a line of his own into this one. */
  private static char clean(char c) {
    return c < ' ' || c >= 0x7f && c <= 0x9f || c == 0x2028 || c == 0x2029 ? ' ' : c;
  }

  @Override
  public void close() throws IOException {
    log.close();
  }
}
