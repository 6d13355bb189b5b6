package io.xenferry.fuzz;

import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;

/** All surfaces by their names. */
final class Surfaces {
  private static final Map<String, Callable<Surface>> ALL = new TreeMap<>();

  static {
    ALL.put("iscsi-initiator", IscsiInitiatorSurface::new);
    ALL.put("iscsi-target", IscsiTargetSurface::new);
    ALL.put("iscsi-text", Texts::iscsiText);
    ALL.put("json-rpc-call", Calls::jsonRpcCall);
    ALL.put("nbd-client", NbdClientSurface::new);
    ALL.put("nbd-server", NbdServerSurface::new);
    ALL.put("peer-message", Texts::peerMessage);
    ALL.put("qmp", QmpSurface::new);
    ALL.put("query", Texts::query);
    ALL.put("xe-message", Texts::xeMessage);
    ALL.put("xml-rpc-answer", Calls::xmlRpcAnswer);
    ALL.put("xml-rpc-call", Calls::xmlRpcCall);
  }

  private Surfaces() {}

  static Iterable<String> names() {
    return ALL.keySet();
  }

  static boolean has(String name) {
    return ALL.containsKey(name);
  }

  /**
   * @throws IllegalArgumentException for a name that no surface has
   */
  static Surface open(String name) throws Exception {
    Callable<Surface> maker = ALL.get(name);
    if (maker == null) {
      throw new IllegalArgumentException("no surface is called " + name);
    }
    return maker.call();
  }
}
