package io.xenferry.sr;

import java.util.Map;

/** One way for a hypervisor to reach an attached VDI. */
public sealed interface Implementation {
  record XenDisk(String params, Map<String, String> extra, String backendType)
      implements Implementation {
    public XenDisk {
      extra = Map.copyOf(extra);
    }
  }

  record BlockDevice(String path) implements Implementation {}

  record File(String path) implements Implementation {}

  record Nbd(String uri) implements Implementation {}
}
