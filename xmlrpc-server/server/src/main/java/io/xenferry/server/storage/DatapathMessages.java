package io.xenferry.server.storage;

import io.xenferry.model.Host;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;

/** Who uses which disk, for people who look why one is in use, and its end. */
public final class DatapathMessages {
  private static final String TEST = "SmapiTest.datapathsAreToldAndEnded";

  private final HostStorage storage;

  public DatapathMessages(HostStorage storage) {
    this.storage = storage;
  }

  public void register(Registry r) {
    r.implement("host.get_sm_diagnostics", this::tell, TEST);
    r.implement("host.sm_dp_destroy", this::destroy, TEST);
  }

  private static void requireHost(Call c) throws XenApiException {
    c.server().db().snapshot().get(c.<Host>ref(0), Host.UUID);
  }

  /** A line for each datapath. */
  private Value tell(Call c) throws XenApiException {
    requireHost(c);
    return Value.of(String.join("\n", storage.mux().describeDatapaths()));
  }

  /** Those of VMs are their guests' own, and end with them. */
  private Value destroy(Call c) throws XenApiException {
    requireHost(c);
    String datapath = c.text(1);
    storage.requireForeign(datapath);
    HostStorage.drive(() -> storage.mux().destroyDatapath(datapath, c.bool(2)));
    return Value.VOID;
  }
}
