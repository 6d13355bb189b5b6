package io.xenferry.nbd;

import static io.xenferry.nbd.NbdProtocol.*;

import io.xenferry.block.BlockBackend;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** The server's half of the fixed newstyle negotiation. Blocks; the session keeps the deadline. */
final class ServerHandshake {
  /** Options that an honest client has no reason to exceed. */
  private static final int MAX_OPTIONS = 1000;

  private static final int MAX_OPTION = 64 << 10;

  private final NbdExportServer server;
  private final Runnable admitted;
  private NbdChannel channel;
  private boolean noZeroes;
  private boolean encrypted;
  private boolean structured;
  private String contextExport = "";
  private List<Context> contexts = List.of();

  /** A metadata context that was agreed on. */
  record Context(int id, String name) {}

  /** What the two ends agreed on. */
  record Agreement(
      NbdChannel channel, Tenancy tenancy, boolean structured, List<Context> contexts) {

    NbdExport export() {
      return tenancy.entry.export;
    }
  }

  /**
   * @param admitted runs when a client has been let in to an export, before the client knows
   */
  ServerHandshake(NbdExportServer server, NbdChannel channel, Runnable admitted) {
    this.server = server;
    this.channel = channel;
    this.admitted = admitted;
  }

  /** Empty when the client said goodbye. */
  Optional<Agreement> run() throws IOException, InterruptedException {
    channel
        .frame()
        .putLong(MAGIC)
        .putLong(OPTION_MAGIC)
        .putShort((short) (FIXED_NEWSTYLE | NO_ZEROES));
    channel.send();
    int flags = channel.readInt();
    if ((flags & ~(FIXED_NEWSTYLE | NO_ZEROES)) != 0 || (flags & FIXED_NEWSTYLE) == 0) {
      throw NbdChannel.protocol("unknown client flags");
    }
    noZeroes = (flags & NO_ZEROES) != 0;
    for (int i = 0; i < MAX_OPTIONS; i++) {
      if (channel.readLong() != OPTION_MAGIC) {
        throw NbdChannel.protocol("no option magic");
      }
      int option = channel.readInt();
      int length = channel.readInt();
      if (length < 0 || length > MAX_OPTION) {
        throw NbdChannel.protocol("an option of " + Integer.toUnsignedString(length) + " bytes");
      }
      ByteBuffer content = ByteBuffer.wrap(channel.readBytes(length));
      if (option == OPT_ABORT) {
        reply(option, REP_ACK, new byte[0]);
        return Optional.empty();
      }
      Optional<Agreement> agreement = answer(option, content);
      if (agreement.isPresent()) {
        return agreement;
      }
    }
    throw NbdChannel.protocol("options without end");
  }

  private Optional<Agreement> answer(int option, ByteBuffer content)
      throws IOException, InterruptedException {
    boolean tlsMissing = server.tls().isPresent() && !encrypted;
    if (tlsMissing && option == OPT_EXPORT_NAME) {
      throw NbdChannel.protocol("an export's name before TLS");
    }
    if (tlsMissing && option != OPT_STARTTLS) {
      error(option, REP_ERR_TLS_REQD, "this server demands TLS");
      return Optional.empty();
    }
    switch (option) {
      case OPT_STARTTLS -> startTls(content);
      case OPT_STRUCTURED_REPLY -> {
        if (content.hasRemaining()) {
          error(option, REP_ERR_INVALID, "no content expected");
        } else {
          structured = true;
          reply(option, REP_ACK, new byte[0]);
        }
      }
      case OPT_LIST -> list(content);
      case OPT_LIST_META_CONTEXT, OPT_SET_META_CONTEXT -> metaContexts(option, content);
      case OPT_INFO, OPT_GO -> {
        return go(option, content);
      }
      case OPT_EXPORT_NAME -> {
        return Optional.of(exportName(StandardCharsets.UTF_8.decode(content).toString()));
      }
      default -> error(option, REP_ERR_UNSUP, "unknown option");
    }
    return Optional.empty();
  }

  private void startTls(ByteBuffer content) throws IOException {
    if (content.hasRemaining() || encrypted || channel.hasBuffered()) {
      error(OPT_STARTTLS, REP_ERR_INVALID, "not now");
      return;
    }
    if (server.tls().isEmpty()) {
      error(OPT_STARTTLS, REP_ERR_POLICY, "TLS is not configured");
      return;
    }
    reply(OPT_STARTTLS, REP_ACK, new byte[0]);
    channel = new NbdChannel(server.tls().get().upgrade(channel.channel()));
    encrypted = true;
    // What was agreed in the clear may have been forged.
    structured = false;
    contexts = List.of();
  }

  private void list(ByteBuffer content) throws IOException {
    if (content.hasRemaining()) {
      error(OPT_LIST, REP_ERR_INVALID, "no content expected");
      return;
    }
    for (ExportTable.Entry entry : server.table().listed()) {
      byte[] name = entry.name.getBytes(StandardCharsets.UTF_8);
      byte[] description = entry.export.description().getBytes(StandardCharsets.UTF_8);
      int shown = Math.min(description.length, MAX_STRING);
      ByteBuffer data = ByteBuffer.allocate(4 + name.length + shown);
      data.putInt(name.length).put(name).put(description, 0, shown);
      reply(OPT_LIST, REP_SERVER, data.array());
    }
    reply(OPT_LIST, REP_ACK, new byte[0]);
  }

  private void metaContexts(int option, ByteBuffer content) throws IOException {
    boolean set = option == OPT_SET_META_CONTEXT;
    if (set) {
      contexts = List.of();
    }
    Optional<String> name = string(content);
    if (name.isEmpty() || content.remaining() < 4 || set && !structured) {
      error(option, REP_ERR_INVALID, "malformed, or structured replies are not agreed on");
      return;
    }
    Optional<NbdExport> export = find(name.get()).map(found -> found.entry().export);
    if (export.isEmpty()) {
      error(option, REP_ERR_UNKNOWN, "no such export");
      return;
    }
    TreeSet<String> offered = new TreeSet<>(export.get().contexts().keySet());
    offered.add(BASE_ALLOCATION);
    TreeSet<String> chosen = new TreeSet<>();
    int queries = content.getInt();
    if (queries == 0 && !set) {
      chosen.addAll(offered);
    }
    for (int i = 0; i < queries; i++) {
      Optional<String> query = string(content);
      if (query.isEmpty()) {
        error(option, REP_ERR_INVALID, "malformed query");
        return;
      }
      offered.stream().filter(c -> matches(query.get(), c, set)).forEach(chosen::add);
    }
    if (queries < 0 || content.hasRemaining()) {
      error(option, REP_ERR_INVALID, "malformed queries");
      return;
    }
    List<Context> agreed = new ArrayList<>();
    for (String context : chosen) {
      byte[] text = context.getBytes(StandardCharsets.UTF_8);
      int id = set ? agreed.size() + 1 : 0;
      agreed.add(new Context(id, context));
      ByteBuffer data = ByteBuffer.allocate(4 + text.length);
      reply(option, REP_META_CONTEXT, data.putInt(id).put(text).array());
    }
    if (set) {
      contexts = List.copyOf(agreed);
      contextExport = name.get();
    }
    reply(option, REP_ACK, new byte[0]);
  }

  /** To list, a name that ends in a colon stands for all that begin so. */
  private static boolean matches(String query, String context, boolean exactly) {
    return query.equals(context) || !exactly && query.endsWith(":") && context.startsWith(query);
  }

  private Optional<ExportTable.Found> find(String name) {
    return server.table().find(name, channel.peer());
  }

  /** Waits until whoever is displaced has nothing under way any more. */
  private Optional<Tenancy> admit(ExportTable.Found found)
      throws IOException, InterruptedException {
    Optional<Tenancy> tenancy = found.entry().admit(found.generation());
    if (tenancy.isPresent()) {
      try {
        Duration patience = server.limits().negotiation();
        tenancy.get().vacant().get(patience.toNanos(), TimeUnit.NANOSECONDS);
      } catch (ExecutionException | TimeoutException e) {
        throw new IOException("requests of an earlier generation do not end", e);
      }
      admitted.run();
    }
    return tenancy;
  }

  private Optional<Agreement> go(int option, ByteBuffer content)
      throws IOException, InterruptedException {
    Optional<String> name = string(content);
    if (name.isEmpty()
        || content.remaining() < 2
        || content.remaining()
            != 2 + 2 * Short.toUnsignedInt(content.getShort(content.position()))) {
      error(option, REP_ERR_INVALID, "malformed");
      return Optional.empty();
    }
    Optional<ExportTable.Found> found = find(name.get());
    if (found.isEmpty()) {
      error(option, REP_ERR_UNKNOWN, "no such export");
      return Optional.empty();
    }
    Optional<Tenancy> tenancy = option == OPT_GO ? admit(found.get()) : Optional.empty();
    if (option == OPT_GO && tenancy.isEmpty()) {
      error(option, REP_ERR_POLICY, "displaced by a later generation");
      return Optional.empty();
    }
    NbdExport offered = found.get().entry().export;
    BlockBackend backend = offered.backend();
    ByteBuffer export = ByteBuffer.allocate(12).putShort((short) INFO_EXPORT);
    reply(option, REP_INFO, export.putLong(backend.size()).putShort(flags(offered)).array());
    int max = Math.min(backend.maxTransfer(), MAX_PAYLOAD);
    ByteBuffer sizes = ByteBuffer.allocate(14).putShort((short) INFO_BLOCK_SIZE);
    sizes.putInt(backend.alignment()).putInt(Math.max(4096, backend.alignment())).putInt(max);
    reply(option, REP_INFO, sizes.array());
    reply(option, REP_ACK, new byte[0]);
    return tenancy.map(mine -> agreement(name.get(), mine));
  }

  private Agreement exportName(String name) throws IOException, InterruptedException {
    ExportTable.Found found =
        find(name).orElseThrow(() -> NbdChannel.protocol("the name of an export that is not here"));
    Tenancy tenancy =
        admit(found).orElseThrow(() -> NbdChannel.protocol("the name of a displaced generation"));
    NbdExport offered = tenancy.entry.export;
    ByteBuffer frame = channel.frame().putLong(offered.backend().size()).putShort(flags(offered));
    if (!noZeroes) {
      frame.put(new byte[124]);
    }
    channel.send();
    return agreement(name, tenancy);
  }

  private Agreement agreement(String name, Tenancy tenancy) {
    List<Context> agreed = contextExport.equals(name) ? contexts : List.of();
    return new Agreement(channel, tenancy, structured, agreed);
  }

  private short flags(NbdExport offered) {
    // All connections share one backend, whose flush covers whatever completed before.
    int flags = FLAG_HAS_FLAGS | FLAG_SEND_FUA | FLAG_CAN_MULTI_CONN;
    flags |= offered.flushed() ? FLAG_SEND_FLUSH : 0;
    flags |=
        offered.backend().readOnly() ? FLAG_READ_ONLY : FLAG_SEND_TRIM | FLAG_SEND_WRITE_ZEROES;
    return (short) (structured ? flags | FLAG_SEND_DF : flags);
  }

  private static Optional<String> string(ByteBuffer content) {
    if (content.remaining() < 4) {
      return Optional.empty();
    }
    int length = content.getInt();
    if (length < 0 || length > MAX_STRING || length > content.remaining()) {
      return Optional.empty();
    }
    byte[] text = new byte[length];
    content.get(text);
    return Optional.of(new String(text, StandardCharsets.UTF_8));
  }

  private void error(int option, int type, String text) throws IOException {
    reply(option, type, text.getBytes(StandardCharsets.UTF_8));
  }

  private void reply(int option, int type, byte[] data) throws IOException {
    ByteBuffer frame = channel.frame().putLong(OPTION_REPLY_MAGIC).putInt(option).putInt(type);
    frame.putInt(data.length);
    channel.send(ByteBuffer.wrap(data));
  }
}
