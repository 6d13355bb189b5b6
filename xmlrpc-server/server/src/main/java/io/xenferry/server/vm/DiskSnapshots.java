package io.xenferry.server.vm;

import io.xenferry.model.Ref;
import io.xenferry.model.VDI;
import io.xenferry.model.XenApiException;
import io.xenferry.server.task.Task;
import java.nio.file.Path;
import java.util.Optional;

/** Snapshots of disks; blocking. */
public interface DiskSnapshots {

  /**
   * Takes one of a disk that no guest writes.
   *
   * @param task shows the progress, where the SR must copy; cancelling it ends that
   * @throws XenApiException SR_NOT_ATTACHED, VDI_IN_USE, TASK_CANCELLED, or what the driver says
   */
  Ref<VDI> snapshot(Ref<VDI> disk, Task task) throws XenApiException;

  /**
   * Begins one of a disk that a guest writes.
   *
   * @param tag of the migration whose it is, and which removes it; empty for none
   */
  Live begin(Ref<VDI> disk, Optional<String> tag) throws XenApiException;

  /** Makes a disk larger that no guest has open. */
  void resize(Ref<VDI> disk, long bytes) throws XenApiException;

  /** Records that a guest's hypervisor has made the disk larger. */
  void resized(Ref<VDI> disk) throws XenApiException;

  /** One that waits for its guest; either commit or abandon it. */
  interface Live {
    /** The image that the guest has. */
    Path now();

    /** The one that it is to go on with. */
    Path next();

    /** The guest is on the new image. */
    Ref<VDI> commit() throws XenApiException;

    /** The guest is still on the old one, for certain. */
    void abandon();
  }
}
