package io.xenferry.server.vm;

import io.xenferry.model.Host;
import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Snapshot;
import io.xenferry.spi.Scheduling;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Pattern;

/**
 * The keys of {@code VM.VCPUs_params} and {@code host.guest_VCPUs_params} by which processors share
 * the host: {@code weight}, of VMs, and {@code mask}, of both: {@code 1,2} for all of a VM's
 * processors, or {@code 1,2;3} for the first, the second and so on, where those that are left out
 * have what the first has. Whatever else is there nobody reads.
 */
final class VcpuParams {
  private static final String WEIGHT = "weight";
  private static final String MASK = "mask";

  /** Per cent of a processor that the VM may have at most; not here. */
  private static final String CAP = "cap";

  private static final Pattern MASKS =
      Pattern.compile("[0-9]{1,4}(,[0-9]{1,4})*(;[0-9]{1,4}(,[0-9]{1,4})*)*");

  private VcpuParams() {}

  /**
   * What a client wants to put there. What was there stays, also when it came from another server.
   *
   * @throws XenApiException INVALID_VALUE; NOT_IMPLEMENTED for a cap
   */
  static void require(String field, Map<String, String> before, Map<String, String> params)
      throws XenApiException {
    for (Map.Entry<String, String> e : params.entrySet()) {
      String value = e.getValue();
      if (value.equals(before.get(e.getKey()))) {
        continue;
      }
      boolean valid =
          switch (e.getKey()) {
            case WEIGHT -> weight(params).isPresent();
            case MASK -> !masks(params).isEmpty();
            default -> true;
          };
      if (!valid) {
        throw new XenApiException("INVALID_VALUE", field + ":" + e.getKey(), value);
      }
      if (e.getKey().equals(CAP) && !value.equals("0")) {
        throw new XenApiException("NOT_IMPLEMENTED", field + ":" + CAP);
      }
    }
  }

  /** How the VM's processors share this host. */
  static Scheduling scheduling(Snapshot db, Ref<VM> vm) throws XenApiException {
    return scheduling(db, db.get(vm, VM.VCPUS_PARAMS));
  }

  /**
   * The same for parameters that the VM may get. A host that keeps its guests to some of its
   * processors keeps them there; values that make no sense say nothing, as with published servers.
   */
  static Scheduling scheduling(Snapshot db, Map<String, String> params) throws XenApiException {
    Ref<Host> host = Ref.of(db.rows("host").iterator().next().ref());
    List<Set<Integer>> hosts = masks(db.get(host, Host.GUEST_VCPUS_PARAMS));
    List<Set<Integer>> masks = masks(params);
    if (!hosts.isEmpty()) {
      Set<Integer> all = hosts.getFirst();
      masks = masks.isEmpty() ? List.of(all) : masks.stream().map(m -> within(m, all)).toList();
    }
    return new Scheduling(weight(params).orElse(Scheduling.WEIGHT), masks);
  }

  /** What two masks have in common, or else the host's. */
  private static Set<Integer> within(Set<Integer> mask, Set<Integer> host) {
    Set<Integer> common = new LinkedHashSet<>(mask);
    common.retainAll(host);
    return common.isEmpty() ? host : common;
  }

  private static Optional<Integer> weight(Map<String, String> params) {
    String text = params.getOrDefault(WEIGHT, "");
    return text.matches("[0-9]{1,5}")
        ? Optional.of(Integer.parseInt(text)).filter(w -> w >= 1 && w <= Scheduling.MOST_WEIGHT)
        : Optional.empty();
  }

  /** Empty for what is none. */
  private static List<Set<Integer>> masks(Map<String, String> params) {
    String text = params.getOrDefault(MASK, "").replace(" ", "");
    if (!MASKS.matcher(text).matches()) {
      return List.of();
    }
    List<Set<Integer>> masks = new ArrayList<>();
    for (String mask : text.split(";", -1)) {
      Set<Integer> processors = new LinkedHashSet<>();
      for (String processor : mask.split(",", -1)) {
        processors.add(Integer.parseInt(processor));
      }
      if (processors.stream().anyMatch(p -> p >= Scheduling.PROCESSORS)) {
        return List.of();
      }
      masks.add(processors);
    }
    return masks;
  }
}
