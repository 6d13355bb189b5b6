package io.xenferry.server.vm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.model.Ref;
import io.xenferry.model.VM;
import io.xenferry.model.VMAppliance;
import io.xenferry.model.Value;
import io.xenferry.model.VmApplianceOperation;
import io.xenferry.model.VmPowerState;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.MemoryDatabase;
import io.xenferry.model.db.ObjectDatabase;
import io.xenferry.server.schema.Schema;
import io.xenferry.server.task.Task;
import io.xenferry.server.task.Tasks;
import java.time.Clock;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** In which order the VMs of an appliance have their turn, and what passes in between. */
class AppliancesTest {
  private final ObjectDatabase database = MemoryDatabase.create();
  private final Tasks tasks = new Tasks(database, new Schema(), Clock.systemUTC());
  private final List<String> said = Collections.synchronizedList(new ArrayList<>());
  private Ref<VMAppliance> appliance = Ref.nullRef();
  private String cancelAfter = "";

  private final Appliances appliances =
      new Appliances(
          database,
          (vm, task) -> turn(vm, task, VmPowerState.RUNNING),
          (vm, task) -> turn(vm, task, VmPowerState.PAUSED),
          Map.of(
              VmApplianceOperation.HARD_SHUTDOWN,
              (vm, task) -> turn(vm, task, VmPowerState.HALTED)),
          (time, task) -> said.add(time.toString()));

  private void turn(Ref<VM> vm, Task task, VmPowerState to) throws XenApiException {
    String name = database.snapshot().get(vm, VM.NAME_LABEL);
    said.add(name);
    // What one VM says of the task is not said of the others.
    task.cancellable(false);
    if (name.equals(cancelAfter)) {
      tasks.cancel(task.ref(), Ref.random().opaque());
    }
    database.change(tx -> tx.set(vm, VM.POWER_STATE, to));
  }

  @BeforeEach
  void make() throws XenApiException {
    appliance = database.write(tx -> Ref.of(tx.create("VM_appliance", Map.of())));
    vm("c", 7, 0, 2);
    vm("a", 1, 3, 0);
    vm("b", 2, 0, 4);
  }

  private void vm(String name, long order, long start, long shutdown) throws XenApiException {
    database.change(tx ->
        tx.create(
            "VM",
            Map.of(
                "name_label", Value.of(name),
                "power_state", Value.of("Halted"),
                "appliance", Value.of(appliance),
                "order", Value.of(order),
                "start_delay", Value.of(start),
                "shutdown_delay", Value.of(shutdown))));
  }

  private Task task() throws XenApiException {
    return tasks.start("test", "", Ref.nullRef(), "", Ref.nullRef(), true);
  }

  @Test
  void theLowestOrderStartsFirstAndStopsLast() throws Exception {
    appliances.start(appliance, false, task());
    assertThat(said).containsExactly("a", "PT3S", "b", "c");
    said.clear();
    appliances.stop(appliance, VmApplianceOperation.HARD_SHUTDOWN, task());
    assertThat(said).containsExactly("c", "PT2S", "b", "PT4S", "a");
  }

  @Test
  void aDelayHasALimit() throws Exception {
    vm("z", 0, Long.MAX_VALUE, 0);
    appliances.start(appliance, true, task());
    assertThat(said)
        .containsExactly("z", Appliances.LONGEST_DELAY.toString(), "a", "PT3S", "b", "c");
  }

  @Test
  void nothingMoreBeginsOnceItIsCancelled() throws Exception {
    cancelAfter = "b";
    Task task = task();
    assertThatThrownBy(() -> appliances.start(appliance, false, task))
        .isInstanceOfSatisfying(
            XenApiException.class, e -> assertThat(e.code()).isEqualTo("TASK_CANCELLED"));
    assertThat(said).containsExactly("a", "PT3S", "b");
    assertThat(database.snapshot().get(appliance, VMAppliance.CURRENT_OPERATIONS)).isEmpty();
  }

  @Test
  void thoseOfOneOrderHaveTheirTurnTogether() throws Exception {
    for (int i = 0; i < 30; i++) {
      vm("many" + i, 5, 0, 0);
    }
    appliances.start(appliance, false, task());
    assertThat(said).hasSize(34).startsWith("a", "PT3S", "b").endsWith("c");
  }

  @Test
  void oneThingAtATime() throws Exception {
    database.change(tx ->
        tx.set(
            appliance,
            VMAppliance.CURRENT_OPERATIONS,
            Map.of("OpaqueRef:other", VmApplianceOperation.START)));
    Task task = task();
    assertThatThrownBy(() -> appliances.start(appliance, false, task))
        .isInstanceOfSatisfying(
            XenApiException.class,
            e -> assertThat(e.code()).isEqualTo("OTHER_OPERATION_IN_PROGRESS"));
    assertThat(said).isEmpty();
    assertThat(Duration.ofHours(1)).isEqualTo(Appliances.LONGEST_DELAY);
  }
}
