package io.xenferry.server.storage;

import io.xenferry.model.Ref;
import io.xenferry.model.VDI;
import io.xenferry.model.VdiOperations;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** What is being done with disks, as {@code current_operations} shows it. Thread-safe. */
record DiskOperations(ObjectDatabase database) {
  private static final Logger log = LoggerFactory.getLogger(DiskOperations.class);

  /** Until it is closed; several may be shown at once. */
  interface Shown extends AutoCloseable {
    @Override
    void close();
  }

  /**
   * @param task whose operation it is, of which a disk shows one
   */
  Shown begin(Ref<VDI> vdi, VdiOperations operation, String task) throws XenApiException {
    database.change(tx -> {
      Map<String, VdiOperations> current = new LinkedHashMap<>(tx.get(vdi, VDI.CURRENT_OPERATIONS));
      current.put(task, operation);
      tx.set(vdi, VDI.CURRENT_OPERATIONS, current);
    });
    return () -> end(vdi, task);
  }

  private void end(Ref<VDI> vdi, String task) {
    try {
      database.change(tx -> {
        if (tx.row("VDI", vdi.opaque()).isPresent()) {
          Map<String, VdiOperations> current =
              new LinkedHashMap<>(tx.get(vdi, VDI.CURRENT_OPERATIONS));
          current.remove(task);
          tx.set(vdi, VDI.CURRENT_OPERATIONS, current);
        }
      });
    } catch (XenApiException e) {
      log.warn("disk {} still shows what was done with it", vdi, e);
    }
  }

  /** At start-up: nothing is being done with any disk. */
  void forget() {
    try {
      database.change(tx -> {
        for (Row row : List.copyOf(tx.rows("VDI"))) {
          Ref<VDI> vdi = new Ref<>(row.ref());
          if (!tx.get(vdi, VDI.CURRENT_OPERATIONS).isEmpty()) {
            tx.set(vdi, VDI.CURRENT_OPERATIONS, Map.of());
          }
        }
      });
    } catch (XenApiException e) {
      log.warn("disks still show operations of a server before this one", e);
    }
  }
}
