package io.xenferry.server.vm;

import io.xenferry.model.Ref;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.server.call.Call;
import io.xenferry.server.call.Registry;

/** Messages about processors and memory of running VMs. */
public final class TuningMessages {
  private static final String TEST = "TuningTest.";

  private final VmTuning tuning;

  public TuningMessages(VmTuning tuning) {
    this.tuning = tuning;
  }

  /** After the messages for halted VMs, of which some are also for running ones. */
  public void register(Registry r) {
    r.implement("VM.set_VCPUs_number_live", this::vcpus, TEST + "processorsComeAndGo");
    r.implement("VM.set_memory_target_live", this::target, TEST + "memoryIsTakenAndGiven");
    r.implement("VM.wait_memory_target_live", this::await, TEST + "memoryIsTakenAndGiven");
    r.instead("VM.set_memory_dynamic_range", this::range);
  }

  private Value vcpus(Call c) throws XenApiException {
    tuning.setVcpus(c.ref(0), c.integer(1), task(c));
    return Value.VOID;
  }

  private Value target(Call c) throws XenApiException {
    tuning.setDynamicRange(c.ref(0), c.integer(1), c.integer(1), task(c));
    return Value.VOID;
  }

  private Value await(Call c) throws XenApiException {
    tuning.awaitTarget(c.ref(0), task(c));
    return Value.VOID;
  }

  /**
   * @return whether the guest was asked
   */
  private boolean range(Call c) throws XenApiException {
    if (!tuning.isLive(c.ref(0))) {
      return false;
    }
    tuning.setDynamicRange(c.ref(0), c.integer(1), c.integer(2), task(c));
    return true;
  }

  private static String task(Call c) {
    return c.task().map(io.xenferry.server.task.Task::ref).orElseGet(() -> Ref.random().opaque());
  }
}
