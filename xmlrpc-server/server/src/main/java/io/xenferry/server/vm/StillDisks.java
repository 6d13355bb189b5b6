package io.xenferry.server.vm;

import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.XenApiException;

/** Keeps off what the server does with a VM's disks by itself, while somebody works with them. */
@FunctionalInterface
public interface StillDisks {

  /**
   * Returns when nothing is under way; nothing begins until this is closed. Several may hold it.
   *
   * @throws XenApiException OTHER_OPERATION_IN_PROGRESS when the guest's hypervisor does not let go
   */
  VmAdmission.InProgress keep(Ref<VM> vm) throws XenApiException;

  /** Something else that somebody did with a VM is over. */
  default void free(Ref<VM> vm) {}
}
