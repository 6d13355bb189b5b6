package io.xenferry.server.boot;

import io.xenferry.model.DataModel;
import io.xenferry.model.Ref;
import io.xenferry.model.Roles;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Transaction;
import io.xenferry.server.config.ServerConfig;
import io.xenferry.server.schema.Schema;
import io.xenferry.sr.QueryResult;
import io.xenferry.sr.SrDriver;
import io.xenferry.sr.SrDrivers;
import java.time.Clock;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Makes the records that clients expect of any pool, in one transaction, unless they exist; and
 * brings those up to date that tell of this start. Nothing here touches the host.
 */
public final class FirstStart {
  private final ServerConfig config;
  private final Clock clock;
  private final HostFacts facts;
  private final Schema schema = new Schema();

  public FirstStart(ServerConfig config, Clock clock, HostFacts facts) {
    this.config = config;
    this.clock = clock;
    this.facts = facts;
  }

  public void run(ObjectDatabase db) throws XenApiException {
    db.change(tx -> {
      if (tx.rows("pool").isEmpty()) {
        create(tx);
      }
      refresh(tx);
      refreshDrivers(tx);
      DefaultTemplates.ensure(tx, schema);
    });
  }

  private void create(Transaction tx) throws XenApiException {
    for (String role : Roles.ALL) {
      tx.create("role", Map.of("name_label", Value.of(role)));
    }
    String metrics =
        tx.create(
            "host_metrics",
            Map.of(
                "memory_total", Value.of(facts.memoryBytes()),
                "memory_free", Value.of(facts.memoryBytes()),
                "live", Value.of(true)));
    Map<String, Value> host = new LinkedHashMap<>();
    host.put("name_label", Value.of(config.product().hostName()));
    host.put("hostname", Value.of(config.product().hostName()));
    host.put("enabled", Value.of(true));
    host.put("metrics", Value.of(metrics));
    host.put("sched_policy", Value.of("credit"));
    host.put("edition", Value.of("free"));
    host.put("ssl_legacy", Value.of(false));
    host.put("iscsi_iqn", Value.of("iqn.2026-01.io.xenferry:" + facts.id()));
    host.put("other_config", Value.ofTexts(Map.of("agent_start_time", now())));
    host.put(
        "capabilities",
        Value.ofTexts(List.of("xen-3.0-x86_64", "hvm-3.0-x86_32", "hvm-3.0-x86_64")));
    String hostRef = tx.create("host", host);
    String dom0 = createControlDomain(tx, hostRef);
    schema.set(tx, "host", hostRef, "control_domain", Value.of(dom0));
    for (int i = 0; i < facts.cpus(); i++) {
      tx.create(
          "host_cpu",
          Map.of(
              "host", Value.of(hostRef),
              "number", Value.of((long) i),
              "vendor", cpu("vendor"),
              "modelname", cpu("modelname"),
              "speed", Value.of(Long.parseLong(facts.cpuInfo().getOrDefault("speed", "0"))),
              "family", Value.of(Long.parseLong(facts.cpuInfo().getOrDefault("family", "0"))),
              "model", Value.of(Long.parseLong(facts.cpuInfo().getOrDefault("model", "0"))),
              "stepping", cpu("stepping"),
              "flags", cpu("flags")));
    }
    Map<String, Value> pool = new LinkedHashMap<>();
    pool.put("name_label", Value.of(config.product().poolName()));
    pool.put("master", Value.of(hostRef));
    tx.create("pool", pool);
    createManagement(tx, hostRef);
  }

  private Value cpu(String key) {
    return Value.of(facts.cpuInfo().getOrDefault(key, ""));
  }

  private String createControlDomain(Transaction tx, String host) throws XenApiException {
    String metrics = tx.create("VM_metrics", Map.of("VCPUs_number", Value.of((long) facts.cpus())));
    Map<String, Value> vm = vmDefaults(facts.cpus(), 1L << 30);
    vm.put("name_label", Value.of("Control domain on host: " + config.product().hostName()));
    vm.put("is_control_domain", Value.of(true));
    vm.put("power_state", Value.of("Running"));
    vm.put("resident_on", Value.of(host));
    vm.put("affinity", Value.of(host));
    vm.put("domid", Value.of(0L));
    vm.put("metrics", Value.of(metrics));
    vm.put("domain_type", Value.of("pv"));
    return tx.create("VM", vm);
  }

  /** Clients offer an SR type, and moving its disks, only with such a record: one per driver. */
  private void refreshDrivers(Transaction tx) throws XenApiException {
    Map<String, String> known = new LinkedHashMap<>();
    for (Row row : List.copyOf(tx.rows("SM"))) {
      known.put(schema.text(row, "type"), row.ref());
    }
    for (SrDriver driver : SrDrivers.installed().all()) {
      QueryResult query = driver.query();
      Map<String, Value> features = new LinkedHashMap<>();
      for (String feature : query.features()) {
        int slash = feature.indexOf('/');
        features.put(
            slash < 0 ? feature : feature.substring(0, slash),
            Value.of(slash < 0 ? 1L : Long.parseLong(feature.substring(slash + 1))));
      }
      Map<String, Value> sm = new LinkedHashMap<>();
      sm.put("name_label", Value.of(query.name()));
      sm.put("name_description", Value.of(query.description()));
      sm.put("type", Value.of(driver.type()));
      sm.put("vendor", Value.of(query.vendor()));
      sm.put("copyright", Value.of(query.copyright()));
      sm.put("version", Value.of(query.version()));
      sm.put("required_api_version", Value.of(query.requiredApiVersion()));
      sm.put("configuration", Value.ofTexts(query.configuration()));
      sm.put("capabilities", Value.ofTexts(List.copyOf(features.keySet())));
      sm.put("features", Value.Struct.of(features));
      String ref = known.remove(driver.type());
      if (ref == null) {
        tx.create("SM", sm);
      } else {
        for (Map.Entry<String, Value> field : sm.entrySet()) {
          schema.set(tx, "SM", ref, field.getKey(), field.getValue());
        }
      }
    }
    for (String gone : known.values()) {
      tx.delete("SM", gone);
    }
  }

  static Map<String, Value> vmDefaults(long vcpus, long memory) {
    Map<String, Value> vm = new LinkedHashMap<>();
    vm.put("VCPUs_max", Value.of(vcpus));
    vm.put("VCPUs_at_startup", Value.of(vcpus));
    for (String f : List.of("static_max", "dynamic_max", "dynamic_min", "static_min")) {
      vm.put("memory_" + f, Value.of(memory));
    }
    vm.put("actions_after_shutdown", Value.of("destroy"));
    vm.put("actions_after_reboot", Value.of("restart"));
    vm.put("actions_after_crash", Value.of("restart"));
    return vm;
  }

  private void createManagement(Transaction tx, String host) throws XenApiException {
    String network =
        tx.create(
            "network",
            Map.of(
                "name_label", Value.of("Pool-wide network associated with " + facts.device()),
                "bridge", Value.of("xenbr0"),
                "other_config", Value.ofTexts(Map.of("is_management", "true"))));
    String metrics =
        tx.create(
            "PIF_metrics",
            Map.of("carrier", Value.of(true), "device_name", Value.of(facts.device())));
    Map<String, Value> pif = new LinkedHashMap<>();
    pif.put("device", Value.of(facts.device()));
    pif.put("network", Value.of(network));
    pif.put("host", Value.of(host));
    pif.put("MAC", Value.of(facts.mac()));
    pif.put("MTU", Value.of(1500L));
    pif.put("VLAN", Value.of(-1L));
    pif.put("metrics", Value.of(metrics));
    pif.put("physical", Value.of(true));
    pif.put("currently_attached", Value.of(true));
    pif.put("management", Value.of(true));
    pif.put("ip_configuration_mode", Value.of("Static"));
    tx.create("PIF", pif);
  }

  /** What may differ from one start to the next. */
  private void refresh(Transaction tx) throws XenApiException {
    Row pool = tx.rows("pool").iterator().next();
    Row host = Schema.row(tx, "host", schema.text(pool, "master"));
    Map<String, Value> h = new LinkedHashMap<>();
    h.put("address", Value.of(facts.address()));
    h.put("API_version_major", Value.of((long) DataModel.API_MAJOR));
    h.put("API_version_minor", Value.of((long) DataModel.API_MINOR));
    h.put("API_version_vendor", Value.of(DataModel.API_VENDOR));
    h.put("software_version", Value.ofTexts(softwareVersion()));
    h.put("license_params", Value.ofTexts(licenseParams()));
    h.put("cpu_info", Value.ofTexts(facts.cpuInfo()));
    h.put("bios_strings", Value.ofTexts(HostFacts.biosStrings(HostFacts.DMI)));
    h.put("chipset_info", Value.ofTexts(Map.of("iommu", "false")));
    h.put("current_operations", Value.ofTexts(Map.of()));
    for (Map.Entry<String, Value> e : h.entrySet()) {
      schema.set(tx, "host", host.ref(), e.getKey(), e.getValue());
    }
    Map<String, String> cpu = new LinkedHashMap<>(facts.cpuInfo());
    cpu.keySet().retainAll(List.of("vendor", "cpu_count", "socket_count", "features_hvm"));
    schema.set(tx, "pool", pool.ref(), "cpu_info", Value.ofTexts(cpu));
    schema.set(tx, "pool", pool.ref(), "restrictions", Value.ofTexts(restrictions()));
    String metrics = schema.text(host, "metrics");
    Instant now = clock.instant();
    schema.set(tx, "host_metrics", metrics, "live", Value.of(true));
    schema.set(tx, "host_metrics", metrics, "last_updated", Value.of(now));
    for (Row pif : List.copyOf(tx.rows("PIF"))) {
      if (schema.bool(pif, "management")) {
        boolean six = facts.address().contains(":");
        List<String> sixes = six ? List.of(facts.address()) : List.of();
        schema.set(tx, "PIF", pif.ref(), "managed", Value.of(false));
        schema.set(tx, "PIF", pif.ref(), "IP", Value.of(six ? "" : facts.address()));
        schema.set(tx, "PIF", pif.ref(), "netmask", Value.of(facts.netmask()));
        schema.set(tx, "PIF", pif.ref(), "IPv6", Value.ofTexts(sixes));
        schema.set(tx, "PIF", pif.ref(), "primary_address_type", Value.of(six ? "IPv6" : "IPv4"));
      }
    }
  }

  private Map<String, String> softwareVersion() {
    var p = config.product();
    Map<String, String> v = new LinkedHashMap<>();
    v.put("product_version", p.version());
    v.put("product_version_text", p.version());
    v.put("product_version_text_short", p.version());
    v.put("product_brand", p.brand());
    v.put("platform_name", p.platformName());
    v.put("platform_version", p.platformVersion());
    v.put("xapi", p.xapiVersion());
    v.put("xapi_build", p.xapiVersion());
    v.put("xen", "4.17");
    v.put("linux", System.getProperty("os.version", ""));
    v.put("build_number", p.buildNumber());
    v.put("hostname", config.product().hostName());
    v.put("date", "2026-01-01");
    v.put("dbv", "0.0.1");
    v.put("network_backend", "bridge");
    return v;
  }

  /** What is refused with LICENCE_RESTRICTION, or for want of what a host would need. */
  private static final List<String> RESTRICTED =
      List.of(
          "corosync",
          "gpu",
          "guest_ip_setting",
          "ha",
          "integrated_gpu_passthrough",
          "live_patching",
          "network_sriov",
          "pci_device_for_auto_update",
          "pool_secret_rotation",
          "pvs_proxy",
          "updates",
          "usb_passthrough",
          "vif_locking",
          "vss",
          "vswitch_controller",
          "wlb");

  // Clients take a missing restrict_ key for "restricted".
  private static Map<String, String> restrictions() {
    Map<String, String> r = new LinkedHashMap<>();
    for (String feature :
        List.of(
            "ad",
            "batch_hotfix_apply",
            "cbt",
            "checkpoint",
            "cifs",
            "connection",
            "cpu_masking",
            "dmc",
            "email_alerting",
            "equalogic",
            "export_resource_data",
            "guest_agent_auto_update",
            "historical_performance",
            "hotfix_apply",
            "import_vdi",
            "intellicache",
            "lab",
            "marathon",
            "netapp",
            "nested_virt",
            "pool_attached_storage",
            "pool_size",
            "pooling",
            "qos",
            "rbac",
            "read_caching",
            "rpu",
            "set_vcpus_number_live",
            "ssl_legacy_switch",
            "stage",
            "storage_choice",
            "storage_xen_motion",
            "storagelink",
            "storagelink_site_recovery",
            "vlan",
            "vm_groups",
            "vmpr",
            "vmss",
            "vtpm",
            "web_selfservice",
            "xcm",
            "xen_motion")) {
      r.put("restrict_" + feature, "false");
    }
    RESTRICTED.forEach(feature -> r.put("restrict_" + feature, "true"));
    return r;
  }

  private static Map<String, String> licenseParams() {
    Map<String, String> l = new LinkedHashMap<>(restrictions());
    l.put("sku_type", "free");
    l.put("version", "");
    l.put("expiry", "20991231T23:59:59Z");
    return l;
  }

  private String now() {
    return clock.instant().getEpochSecond() + ".";
  }

  /** The pool's host, for wiring. */
  public static Ref<?> host(ObjectDatabase db) {
    return Ref.of(db.snapshot().rows("host").iterator().next().ref());
  }
}
