package io.xenferry.server.migration;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.xenferry.migration.preflight.Obstacle;
import io.xenferry.migration.preflight.Survey;
import io.xenferry.migration.state.Plan;
import io.xenferry.model.DataModel;
import io.xenferry.model.Host;
import io.xenferry.model.MessageDef;
import io.xenferry.model.Ref;
import io.xenferry.model.VDI;
import io.xenferry.model.VM;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.server.migration.MigrationMessages.Request;
import io.xenferry.server.session.Session;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/** Dry runs, for REST and {@code xe}: who may ask, what is asked and what is answered. */
final class DryRuns {
  /** Bytes of a request: some hundred disks and interfaces, each with two references. */
  static final int MAX_BODY = 256 << 10;

  /** Who may send this may ask by other ways as well. */
  private static final String MESSAGE = "VM.assert_can_migrate";

  /** Of a member that comes twice one would be taken, and nobody would know which. */
  private static final ObjectMapper JSON =
      new ObjectMapper()
          .enable(JsonParser.Feature.STRICT_DUPLICATE_DETECTION)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

  private static final Set<String> MEMBERS =
      Set.of(
          "vm",
          "host",
          "dest",
          "live",
          "vdi_map",
          "vif_map",
          "options",
          "vgpu_map",
          "vdi_format_map");

  private final ObjectDatabase database;
  private final Migrations migrations;
  private final PoolMoves poolMoves;

  DryRuns(ObjectDatabase database, Migrations migrations, PoolMoves poolMoves) {
    this.database = database;
    this.migrations = migrations;
    this.poolMoves = poolMoves;
  }

  /**
   * @throws XenApiException RBAC_PERMISSION_DENIED
   */
  static void authorize(Session session) throws XenApiException {
    MessageDef message = DataModel.message(MESSAGE).orElseThrow();
    if (!session.mayCall(message, List.of())) {
      throw new XenApiException(
          "RBAC_PERMISSION_DENIED",
          MESSAGE.toLowerCase(Locale.ROOT),
          "The session's role does not allow it");
    }
  }

  /**
   * @param vm reference or uuid
   * @param dest token of a destination
   * @param caller who asks, as Origin has it
   * @throws XenApiException HANDLE_INVALID
   */
  List<Obstacle> send(
      String vm,
      Map<String, String> dest,
      Map<String, String> vdis,
      Map<String, String> vifs,
      Map<String, String> options,
      Map<String, String> formats,
      String caller)
      throws XenApiException, InterruptedException {
    return migrations.survey(new Request(vm(vm), dest, vdis, vifs, options, formats), caller);
  }

  /** Bytes that the disks of a plan occupy, by the SR that they go to. */
  Map<String, Long> occupied(Plan plan) {
    Snapshot db = database.snapshot();
    Map<String, Long> bytes = new LinkedHashMap<>();
    for (Plan.Disk disk : plan.disks()) {
      Optional<Row> row = db.byUuid("VDI", disk.vdi().toString());
      long occupied = row.isPresent() ? occupied(db, new Ref<>(row.get().ref())) : 0;
      bytes.merge(
          disk.sr(), occupied > 0 ? Math.min(occupied, disk.size()) : disk.size(), Long::sum);
    }
    return bytes;
  }

  private static long occupied(Snapshot db, Ref<VDI> vdi) {
    try {
      return db.get(vdi, VDI.PHYSICAL_UTILISATION);
    } catch (XenApiException e) {
      return 0; // it is going
    }
  }

  /**
   * What that move would have, if it began.
   *
   * @param vm reference or uuid
   * @param dest token of a destination
   * @throws XenApiException HANDLE_INVALID
   */
  Optional<Plan> plan(
      String vm,
      Map<String, String> dest,
      Map<String, String> vdis,
      Map<String, String> vifs,
      Map<String, String> options,
      Map<String, String> formats)
      throws XenApiException, InterruptedException {
    return migrations.plan(new Request(vm(vm), dest, vdis, vifs, options, formats));
  }

  /**
   * @param vm reference or uuid
   * @param host reference, of this pool
   * @throws XenApiException HANDLE_INVALID
   */
  List<Obstacle> toHost(String vm, String host, Map<String, String> options)
      throws XenApiException {
    return poolMoves.surveyToHost(vm(vm), new Ref<Host>(host), options);
  }

  private Ref<VM> vm(String refOrUuid) throws XenApiException {
    Snapshot db = database.snapshot();
    Optional<Row> row = db.row("VM", refOrUuid).or(() -> db.byUuid("VM", refOrUuid));
    return new Ref<>(
        row.orElseThrow(() -> new XenApiException("HANDLE_INVALID", "VM", refOrUuid)).ref());
  }

  /**
   * What a client of the REST interface is answered.
   *
   * @param caller who asks, as Origin has it
   * @param body a JSON object with the parameters of VM.migrate_send by their names, and {@code vm}
   * @throws XenApiException INVALID_VALUE for what is none, HANDLE_INVALID
   */
  ObjectNode answer(byte[] body, String caller) throws XenApiException, InterruptedException {
    JsonNode asked;
    try {
      asked = JSON.readTree(body);
    } catch (JsonProcessingException e) {
      throw new XenApiException("INVALID_VALUE", "body", "no JSON").withCause(e);
    } catch (IOException e) {
      throw new XenApiException("INVALID_VALUE", "body", "unreadable").withCause(e);
    }
    if (asked == null || !asked.isObject()) {
      throw new XenApiException("INVALID_VALUE", "body", "no JSON object");
    }
    for (Map.Entry<String, JsonNode> member : asked.properties()) {
      if (!MEMBERS.contains(member.getKey())) {
        throw new XenApiException("INVALID_VALUE", "body", member.getKey());
      }
    }
    String vm = text(asked, "vm");
    List<Obstacle> found =
        asked.has("host")
            ? toHost(vm, text(asked, "host"), texts(asked, "options"))
            : send(
                vm,
                texts(asked, "dest"),
                texts(asked, "vdi_map"),
                texts(asked, "vif_map"),
                texts(asked, "options"),
                texts(asked, "vdi_format_map"),
                caller);
    return json(found);
  }

  private static String text(JsonNode asked, String member) throws XenApiException {
    JsonNode node = asked.path(member);
    if (!node.isTextual()) {
      throw new XenApiException("INVALID_VALUE", member, node.toString());
    }
    return node.textValue();
  }

  private static Map<String, String> texts(JsonNode asked, String member) throws XenApiException {
    JsonNode node = asked.path(member);
    Map<String, String> texts = new LinkedHashMap<>();
    if (!node.isMissingNode() && !node.isObject()) {
      throw new XenApiException("INVALID_VALUE", member, node.toString());
    }
    for (Map.Entry<String, JsonNode> entry : node.properties()) {
      texts.put(entry.getKey(), text(node, entry.getKey()));
    }
    return texts;
  }

  private static ObjectNode json(List<Obstacle> found) {
    ObjectNode answer = JsonNodeFactory.instance.objectNode();
    answer.put("moves", Survey.first(found).isEmpty());
    ArrayNode all = answer.putArray("obstacles");
    for (Obstacle obstacle : found) {
      ObjectNode node = all.addObject();
      node.put("kind", word(obstacle.kind()));
      node.put("blocks", obstacle.kind().blocks());
      node.put("side", word(obstacle.side()));
      node.put("code", obstacle.code());
      ArrayNode params = node.putArray("params");
      obstacle.params().forEach(params::add);
      node.put("sentence", obstacle.sentence());
      node.put("remedy", obstacle.kind().remedy());
    }
    return answer;
  }

  /** As people and programs read it. */
  static String word(Enum<?> constant) {
    return constant.name().toLowerCase(Locale.ROOT).replace('_', '-');
  }
}
