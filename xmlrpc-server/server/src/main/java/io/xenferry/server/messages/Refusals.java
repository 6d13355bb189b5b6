package io.xenferry.server.messages;

import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Row;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Handler;
import io.xenferry.server.call.Registry;
import io.xenferry.server.schema.Schema;
import java.util.HashSet;
import java.util.List;

/**
 * What this server has not got, and neither has many a published one: refused as those refuse it
 * then, so that clients say to their users what they always said. {@code license_params} and {@code
 * pool.restrictions} say the same beforehand.
 */
final class Refusals {
  private static final String TEST = "RefusalsTest.whatIsNotThereIsRefusedByItsObject";

  private Refusals() {}

  static void register(Registry r) {
    r.withoutObjects(
        "Bond",
        "Caller",
        "Cluster",
        "Cluster_host",
        "DR_task",
        "Driver_variant",
        "GPU_group",
        "Host_driver",
        "Observer",
        "PCI",
        "PGPU",
        "PUSB",
        "PVS_cache_storage",
        "PVS_proxy",
        "PVS_server",
        "PVS_site",
        "Rate_limit",
        "Repository",
        "SDN_controller",
        "USB_group",
        "VGPU",
        "VLAN",
        "VUSB",
        "crashdump",
        "host_crashdump",
        "host_patch",
        "network_sriov",
        "pool_patch",
        "pool_update",
        "tunnel");
    r.refuseWith(
        "WLB_NOT_INITIALIZED",
        "pool.deconfigure_wlb",
        "pool.send_wlb_configuration",
        "pool.retrieve_wlb_configuration",
        "pool.retrieve_wlb_recommendations",
        "pool.set_wlb_enabled",
        "VM.retrieve_wlb_recommendations");
    r.refuseWith(
        "HA_NOT_ENABLED",
        "pool.disable_ha",
        "pool.ha_prevent_restarts_for",
        "pool.ha_failover_plan_exists",
        "pool.ha_compute_max_host_failures_to_tolerate",
        "pool.ha_compute_hypothetical_max_host_failures_to_tolerate",
        "pool.ha_compute_vm_failover_plan",
        "pool.set_ha_host_failures_to_tolerate",
        "pool.set_ha_allow_overcommit",
        "pool.set_ha_reboot_vm_on_internal_shutdown",
        "VM.set_ha_restart_priority",
        "VM.set_ha_always_run",
        "host.emergency_ha_disable");
    // The networks here are bridges.
    r.refuseWith(
        "OPENVSWITCH_NOT_ACTIVE",
        "pool.set_vswitch_controller",
        "pool.set_igmp_snooping_enabled",
        "SDN_controller.introduce",
        "tunnel.create");
    r.refuseWith("MESSAGE_DEPRECATED", "VDI.force_unlock", "SR.make");
    r.refuseWith("MESSAGE_REMOVED", "pool.test_archive_target");
    r.refuseWith("LICENSE_PROCESSING_ERROR", "host.license_add");
    r.refuseFeature("WLB", "pool.initialize_wlb");
    r.refuseFeature("Corosync", "Cluster.create", "Cluster.pool_create", "Cluster_host.create");
    r.refuseFeature("GPU", "VGPU.create");
    r.refuseFeature("USB_passthrough", "VUSB.create", "USB_group.create");
    r.refuseFeature("Network_sriov", "network_sriov.create");
    r.refuseFeature(
        "PVS_proxy",
        "PVS_site.introduce",
        "PVS_server.introduce",
        "PVS_proxy.create",
        "PVS_cache_storage.create");
    r.refuseFeature(
        "Updates",
        "Repository.introduce",
        "Repository.introduce_bundle",
        "Repository.introduce_remote_pool",
        "pool.set_repositories",
        "pool.add_repository",
        "pool.remove_repository",
        "pool.sync_updates",
        "host.apply_updates");
    r.refuseFeature("Pool_secret_rotation", "pool.rotate_secret");
    r.refuseFeature("DR", "DR_task.create", "VM.recover", "VM_appliance.recover");
    ofObjects(r);
  }

  private static void ofObjects(Registry r) {
    r.implement("pool.enable_ha", c -> refuse("HA_NOT_INSTALLED", host(c)), TEST);
    r.implement("pool.enable_redo_log", Refusals::redoLog, TEST);
    for (String message :
        List.of(
            "assert_can_host_ha_statefile",
            "assert_supports_database_replication",
            "enable_database_replication")) {
      r.implement("SR." + message, named("SR", 0, "SR_OPERATION_NOT_SUPPORTED"), TEST);
    }
    r.implement(
        "host.enable_local_storage_caching", named("SR", 1, "SR_OPERATION_NOT_SUPPORTED"), TEST);
    // There is one, and clients come by it.
    r.implement("PIF.unplug", named("PIF", 0, "PIF_IS_MANAGEMENT_INTERFACE"), TEST);
    r.implement("PIF.forget", named("PIF", 0, "PIF_IS_MANAGEMENT_INTERFACE"), TEST);
    r.implement("PIF.destroy", named("PIF", 0, "PIF_IS_PHYSICAL"), TEST);
    r.implement("Bond.create", Refusals::bond, TEST);
    r.implement("host.destroy", named("host", 0, "HOST_CANNOT_DESTROY_SELF"), TEST);
    r.implement("host.declare_dead", named("host", 0, "HOST_IS_LIVE"), TEST);
    r.implement("VM.query_services", named("VM", 0, "NOT_SYSTEM_DOMAIN"), TEST);
    r.implement("VDI.open_database", Refusals::metadata, TEST);
    r.implement("VDI.read_database_pool_uuid", Refusals::metadata, TEST);
  }

  private static Value refuse(String code, String... params) throws XenApiException {
    throw new XenApiException(code, params);
  }

  /** Refuses with a reference, once it is known that its object exists. */
  private static Handler named(String className, int argument, String code) {
    return c -> {
      Schema.row(c.server().db().snapshot(), className, c.text(argument));
      return refuse(code, c.text(argument));
    };
  }

  private static String host(Call c) {
    return c.server().db().snapshot().rows("host").iterator().next().ref();
  }

  private static Value redoLog(Call c) throws XenApiException {
    Schema.row(c.server().db().snapshot(), "SR", c.text(0));
    return refuse("CANNOT_ENABLE_REDO_LOG", "no database is kept on an SR here");
  }

  /** A host has one interface here. */
  private static Value bond(Call c) throws XenApiException {
    Schema.row(c.server().db().snapshot(), "network", c.text(0));
    for (String member : c.texts(1)) {
      Schema.row(c.server().db().snapshot(), "PIF", member);
    }
    if (new HashSet<>(c.texts(1)).size() > 1) {
      throw new XenApiException("NOT_IMPLEMENTED", c.message().wireName());
    }
    return refuse("PIF_BOND_NEEDS_MORE_MEMBERS");
  }

  /** No database is kept on a disk here; what a disk says to be one is not read. */
  private static Value metadata(Call c) throws XenApiException {
    Schema schema = c.server().schema();
    Row vdi = Schema.row(c.server().db().snapshot(), "VDI", c.text(0));
    String type = schema.text(vdi, "type");
    if (type.equals("metadata")) {
      throw new XenApiException("NOT_IMPLEMENTED", c.message().wireName());
    }
    return refuse("VDI_INCOMPATIBLE_TYPE", vdi.ref(), type);
  }
}
