package io.xenferry.server.vm;

import io.xenferry.model.Ref;
import io.xenferry.model.VDI;
import io.xenferry.model.XenApiException;
import java.nio.file.Path;
import java.util.UUID;

/** The disks of VMs as this host's SR drivers give them; blocking. */
public interface VmDisks {

  /**
   * Attaches a disk for a VM, so that its hypervisor may open it but not use it yet. Repeating it
   * is no error.
   *
   * @return the image file
   * @throws XenApiException SR_NOT_ATTACHED, VDI_IN_USE while another VM has it, or what the driver
   *     says
   */
  Path attach(Ref<VDI> vdi, UUID vm, boolean writable) throws XenApiException;

  /**
   * Lets the VM use an attached disk. Repeating it is no error.
   *
   * @throws XenApiException VDI_IN_USE while it is exported
   */
  void activate(Ref<VDI> vdi, UUID vm) throws XenApiException;

  /** The reverse, and returns when pending copies of the disk are drained; idempotent. */
  void detach(Ref<VDI> vdi, UUID vm) throws XenApiException;
}
