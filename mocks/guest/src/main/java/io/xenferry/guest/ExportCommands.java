package io.xenferry.guest;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import io.xenferry.block.BlockBackend;
import io.xenferry.block.Range;
import io.xenferry.nbd.BlockStatusSource;
import io.xenferry.nbd.NbdClient;
import io.xenferry.nbd.NbdExport;
import io.xenferry.nbd.NbdExportServer;
import java.io.IOException;
import java.net.UnixDomainSocketAddress;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/** Commands about the NBD server and its exports. */
final class ExportCommands {
  private final Machine machine;
  private final BitmapCommands bitmaps;
  private final Map<String, Export> exports = new ConcurrentHashMap<>();
  private @Nullable NbdExportServer server;

  private record Export(String name, GuestDisk disk, BlockBackend view, List<String> bitmaps) {}

  ExportCommands(Machine machine, BitmapCommands bitmaps) {
    this.machine = machine;
    this.bitmaps = bitmaps;
  }

  JsonNode run(String command, JsonNode arguments) throws QmpError {
    try {
      switch (command) {
        case "nbd-server-start" -> startServer(arguments.path("addr"));
        case "nbd-server-stop" -> stopServer();
        case "block-export-add" -> add(arguments);
        case "block-export-del" -> remove(arguments.path("id").asText());
        case "query-block-exports" -> {
          return query();
        }
        default -> throw new QmpError("The command " + command + " has not been found");
      }
      return QmpCommands.done();
    } catch (IOException e) {
      throw new QmpError(String.valueOf(e.getMessage()));
    }
  }

  private void startServer(JsonNode address) throws QmpError, IOException {
    if (server != null) {
      throw new QmpError("NBD server already running");
    }
    if (!address.path("type").asText().equals("unix")) {
      throw new QmpError("only Unix sockets are supported here");
    }
    server =
        NbdExportServer.listen(
            UnixDomainSocketAddress.of(Path.of(address.path("data").path("path").asText())));
  }

  private void stopServer() throws QmpError {
    NbdExportServer running = running();
    for (String id : List.copyOf(exports.keySet())) {
      remove(id);
    }
    server = null;
    running.close();
  }

  private NbdExportServer running() throws QmpError {
    NbdExportServer running = server;
    if (running == null) {
      throw new QmpError("NBD server not running");
    }
    return running;
  }

  private void add(JsonNode arguments) throws QmpError, IOException {
    NbdExportServer running = running();
    String id = arguments.path("id").asText();
    GuestDisk disk = bitmaps.disk(arguments.path("node-name").asText());
    String name = arguments.path("name").asText(disk.settings.node());
    if (exports.containsKey(id)) {
      throw new QmpError("Block export id '" + id + "' is already in use");
    }
    if (machine.state() != RunState.FINISH_MIGRATE && machine.state() != RunState.POSTMIGRATE) {
      // An export activates its node, in QEMU too, and is silent when it cannot.
      machine.activateAsReceived();
    }
    List<String> names = new ArrayList<>();
    arguments.path("bitmaps").forEach(bitmap -> names.add(bitmap.asText()));
    NbdExport export = NbdExport.of(disk.openForReading());
    try {
      for (String bitmap : names) {
        export =
            export.withContext(
                NbdClient.dirtyBitmapContext(bitmap),
                BlockStatusSource.ofDirty(freeze(disk, bitmap)));
      }
      running.add(name, export);
      exports.put(id, new Export(name, disk, export.backend(), names));
    } catch (QmpError | RuntimeException e) {
      export.backend().close();
      names.forEach(bitmap -> thaw(disk, bitmap));
      throw e;
    }
  }

  private static List<Range> freeze(GuestDisk disk, String name) throws QmpError {
    return disk.withBitmaps(all -> {
      DirtyBitmap bitmap = BitmapCommands.bitmap(all, name);
      if (bitmap.recording) {
        throw new QmpError("Enabled bitmap '" + name + "' incompatible with readonly export");
      }
      bitmap.busy = true;
      return bitmap.ranges();
    });
  }

  private static void thaw(GuestDisk disk, String name) {
    try {
      disk.withBitmaps(all -> {
        DirtyBitmap bitmap = all.get(name);
        if (bitmap != null) {
          bitmap.busy = false;
        }
        return true;
      });
    } catch (QmpError e) {
      throw new IllegalStateException(e);
    }
  }

  private void remove(String id) throws QmpError {
    Export export = exports.get(id);
    if (export == null) {
      throw new QmpError("Export '" + id + "' is not found");
    }
    var unused =
        running()
            .remove(export.name())
            .whenComplete((done, failure) -> {
              export.view().close();
              export.bitmaps().forEach(bitmap -> thaw(export.disk(), bitmap));
              exports.remove(id);
              machine.tell("BLOCK_EXPORT_DELETED", QmpServer.object().put("id", id));
            });
  }

  private JsonNode query() {
    ArrayNode answer = QmpCommands.array();
    exports.forEach((id, export) ->
        answer
            .addObject()
            .put("id", id)
            .put("node-name", export.disk().settings.node())
            .put("type", "nbd")
            .put("shutting-down", false));
    return answer;
  }
}
