package io.xenferry.server.metrics;

import java.util.List;
import java.util.regex.Pattern;

/**
 * What a figure means.
 *
 * @param description for people
 * @param units {@code B/s}, {@code KiB}, {@code (fraction)}
 * @param most infinite where nothing bounds it
 */
record Source(String description, String units, double most) {
  private record Known(Owner.Kind kind, Pattern name, Source source) {}

  private static final double UNBOUNDED = Double.POSITIVE_INFINITY;

  private static final List<Known> KNOWN =
      List.of(
          vm("cpu\\d+", "Share of a processor of the host that a vCPU uses", "(fraction)", 1),
          vm("cpu_usage", "Share of its processors that the VM uses", "(fraction)", 1),
          vm("memory", "Memory that the VM has", "B", UNBOUNDED),
          vm("memory_internal_free", "Memory that the guest says is free", "KiB", UNBOUNDED),
          vm("vbd_\\w+_read", "Read from the device", "B/s", UNBOUNDED),
          vm("vbd_\\w+_write", "Written to the device", "B/s", UNBOUNDED),
          vm("vbd_\\w+_iops_read", "Reads", "requests/s", UNBOUNDED),
          vm("vbd_\\w+_iops_write", "Writes", "requests/s", UNBOUNDED),
          vm("vbd_\\w+_iops_total", "Reads and writes", "requests/s", UNBOUNDED),
          vm("vbd_\\w+_read_latency", "How long a read takes", "us", UNBOUNDED),
          vm("vbd_\\w+_write_latency", "How long a write takes", "us", UNBOUNDED),
          vm("vif_\\w+_rx", "Received by the VM", "B/s", UNBOUNDED),
          vm("vif_\\w+_tx", "Sent by the VM", "B/s", UNBOUNDED),
          host("cpu\\d+", "Share of the processor that is used", "(fraction)", 1),
          host("cpu_avg", "Share of all processors that is used", "(fraction)", 1),
          host("loadavg", "Processes that run or wait, over a minute", "(count)", UNBOUNDED),
          host("memory_total_kib", "Memory of the host", "KiB", UNBOUNDED),
          host("memory_free_kib", "Memory that can be had", "KiB", UNBOUNDED),
          host("pif_.+_rx", "Received by the interface", "B/s", UNBOUNDED),
          host("pif_.+_tx", "Sent by the interface", "B/s", UNBOUNDED),
          sr("size", "Size of the SR", "B", UNBOUNDED),
          sr("physical_utilisation", "Space of the SR that is used", "B", UNBOUNDED),
          sr("read", "Read by this host's VMs", "B/s", UNBOUNDED),
          sr("write", "Written by this host's VMs", "B/s", UNBOUNDED));

  private static Known vm(String name, String description, String units, double most) {
    return known(Owner.Kind.VM, name, description, units, most);
  }

  private static Known host(String name, String description, String units, double most) {
    return known(Owner.Kind.HOST, name, description, units, most);
  }

  private static Known sr(String name, String description, String units, double most) {
    return known(Owner.Kind.SR, name, description, units, most);
  }

  private static Known known(
      Owner.Kind kind, String name, String description, String units, double most) {
    return new Known(kind, Pattern.compile(name), new Source(description, units, most));
  }

  /** One that is not in the list, which a newer server may have kept, means nothing to this one. */
  static Source of(Owner.Kind kind, String name) {
    return KNOWN.stream()
        .filter(k -> k.kind() == kind && k.name().matcher(name).matches())
        .findFirst()
        .map(Known::source)
        .orElseGet(() -> new Source("", "", UNBOUNDED));
  }
}
