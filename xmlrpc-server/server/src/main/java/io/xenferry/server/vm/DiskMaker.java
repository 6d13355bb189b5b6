package io.xenferry.server.vm;

import io.xenferry.block.BlockBackend;
import io.xenferry.model.Ref;
import io.xenferry.model.SR;
import io.xenferry.model.VDI;
import io.xenferry.model.XenApiException;
import io.xenferry.server.task.Task;

/** Makes the disks of new VMs; blocking. */
public interface DiskMaker {

  /**
   * Copies a disk that no guest writes.
   *
   * @param to the SR of the copy, which may be the disk's own
   * @param task shows the progress; cancelling it ends the copying
   * @throws XenApiException SR_NOT_ATTACHED, VDI_IN_USE, TASK_CANCELLED, or what a driver says;
   *     then there is no copy
   */
  Ref<VDI> copy(Ref<VDI> disk, Ref<SR> to, Task task) throws XenApiException;

  /** Makes an empty one of {@code size} bytes. */
  Ref<VDI> create(Ref<SR> sr, String name, String type, long size) throws XenApiException;

  /**
   * Opens one that no guest has, for this server's own use; the caller closes it.
   *
   * @throws XenApiException SR_NOT_ATTACHED, or what a driver says
   */
  BlockBackend open(Ref<VDI> disk, boolean writable) throws XenApiException;

  /** Takes one back that was just made. */
  void destroy(Ref<VDI> disk) throws XenApiException;
}
