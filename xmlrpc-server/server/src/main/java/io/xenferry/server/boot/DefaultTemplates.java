package io.xenferry.server.boot;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Transaction;
import io.xenferry.server.schema.Schema;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * The templates that a host has from its first start on, as clients offer them to whoever makes a
 * VM. All are booted by firmware from a CD, a disk or the network.
 */
final class DefaultTemplates {
  private static final long MIB = 1L << 20;
  private static final long GIB = 1L << 30;

  /** By which a template is known again, whatever somebody has called it since. */
  private static final String LABEL = "reference_label";

  /**
   * @param memory bytes that a guest is given at first
   * @param disk bytes of the disk that VM.provision makes; 0 for none
   */
  private record Template(String label, String name, String description, long memory, long disk) {}

  private static final List<Template> ALL =
      List.of(
          new Template(
              "other-install-media",
              "Other install media",
              "A VM without disks, booted from whatever it is given",
              256 * MIB,
              0),
          linux("debian-12", "Debian Bookworm 12", 1024 * MIB, 10 * GIB),
          linux("debian-13", "Debian Trixie 13", 1024 * MIB, 10 * GIB),
          linux("ubuntu-24.04", "Ubuntu Noble Numbat 24.04", 2048 * MIB, 10 * GIB),
          linux("rocky-9", "Rocky Linux 9", 2048 * MIB, 10 * GIB));

  private DefaultTemplates() {}

  private static Template linux(String label, String name, long memory, long disk) {
    return new Template(label, name, "A VM for " + name + ", with a disk", memory, disk);
  }

  /** Makes those that are not there. */
  static void ensure(Transaction tx, Schema schema) throws XenApiException {
    Set<String> known =
        tx.rows("VM").stream()
            .filter(row -> schema.bool(row, "is_default_template"))
            .map(row -> label(row, schema))
            .collect(Collectors.toSet());
    for (Template template : ALL) {
      if (!known.contains(template.label())) {
        create(tx, template);
      }
    }
  }

  /** The first one, before there were others, had no label. */
  private static String label(Row row, Schema schema) {
    String label = schema.textMap(row, "other_config").get(LABEL);
    return label == null ? ALL.getFirst().label() : label;
  }

  private static void create(Transaction tx, Template template) throws XenApiException {
    Map<String, Value> vm = FirstStart.vmDefaults(1, template.memory());
    vm.put("name_label", Value.of(template.name()));
    vm.put("name_description", Value.of(template.description()));
    vm.put("is_a_template", Value.of(true));
    vm.put("is_default_template", Value.of(true));
    vm.put("domid", Value.of(-1L));
    vm.put("HVM_boot_policy", Value.of("BIOS order"));
    vm.put("HVM_boot_params", Value.ofTexts(Map.of("order", "dc")));
    vm.put("domain_type", Value.of("hvm"));
    vm.put("metrics", Value.of(tx.create("VM_metrics", Map.of())));
    vm.put("allowed_operations", Value.ofTexts(List.of("clone", "provision")));
    vm.put("other_config", Value.ofTexts(config(template)));
    vm.put(
        "platform",
        Value.ofTexts(Map.of("nx", "true", "acpi", "1", "apic", "true", "pae", "true")));
    vm.put(
        "recommendations",
        Value.of(
            "<restrictions><restriction field=\"memory-static-max\" max=\"1649267441664\"/>"
                + "<restriction field=\"vcpus-max\" max=\"32\"/>"
                + "<restriction property=\"number-of-vbds\" max=\"16\"/>"
                + "<restriction property=\"number-of-vifs\" max=\"7\"/></restrictions>"));
    tx.create("VM", vm);
  }

  private static Map<String, String> config(Template template) {
    Map<String, String> config = new LinkedHashMap<>();
    config.put("default_template", "true");
    config.put(LABEL, template.label());
    if (template.disk() > 0) {
      config.put("linux_template", "true");
      config.put("install-methods", "cdrom");
      config.put("install-arch", "amd64");
      config.put(
          "disks",
          "<provision><disk device=\"0\" size=\""
              + template.disk()
              + "\" sr=\"\" bootable=\"true\" type=\"system\"/></provision>");
    }
    return config;
  }
}
