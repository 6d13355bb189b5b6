package io.xenferry.qemu;

import com.fasterxml.jackson.databind.JsonNode;
import io.xenferry.qemu.agent.AgentInquiry;
import io.xenferry.spi.AgentReport;
import io.xenferry.spi.GuestAgent;
import io.xenferry.spi.HypervisorException;
import io.xenferry.spi.HypervisorException.Kind;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReentrantLock;

/** The guest agent's virtio serial port, which is in machines from layout 2 on. */
final class AgentPort implements GuestAgent {
  /** By which the agent finds it in the guest. */
  private static final String NAME = "org.qemu.guest_agent.0";

  private static final String CHARDEV = "agent";
  private static final String DEVICE = "agent-port";

  private final Monitor monitor;
  private final Path socket;

  /** The socket serves one client; a second one would wait for the first. */
  private final ReentrantLock asking = new ReentrantLock();

  AgentPort(Monitor monitor, Path socket) {
    this.monitor = monitor;
    this.socket = socket;
  }

  /** What QEMU is told. */
  static void addTo(List<String> command, GuestDirectory directory) {
    command.addAll(
        List.of(
            "-chardev",
            "socket,id="
                + CHARDEV
                + ",path="
                + directory.agentSocket().toString().replace(",", ",,")
                + ",server=on,wait=off",
            "-device",
            // One port beside the one that every such bus begins with.
            "virtio-serial-pci,id=agent-bus,max_ports=2," + MachineLayout.AGENT,
            "-device",
            "virtserialport,id="
                + DEVICE
                + ",bus=agent-bus.0,nr=1,chardev="
                + CHARDEV
                + ",name="
                + NAME));
  }

  @Override
  public boolean present() throws HypervisorException, InterruptedException {
    for (JsonNode chardev : monitor.execute("query-chardev")) {
      if (chardev.path("label").asText().equals(CHARDEV)) {
        return chardev.path("frontend-open").asBoolean();
      }
    }
    return false;
  }

  @Override
  public AgentReport ask(Duration deadline) throws HypervisorException, InterruptedException {
    take(deadline);
    try {
      return AgentInquiry.run(socket, deadline);
    } finally {
      asking.unlock();
    }
  }

  @Override
  public void shutdown(Duration deadline) throws HypervisorException, InterruptedException {
    take(deadline);
    try {
      AgentInquiry.shutdown(socket, deadline);
    } finally {
      asking.unlock();
    }
  }

  private void take(Duration deadline) throws HypervisorException, InterruptedException {
    if (!asking.tryLock(deadline.toNanos(), TimeUnit.NANOSECONDS)) {
      throw new HypervisorException(Kind.TIMEOUT, "the guest's agent is being asked already");
    }
  }

  @Override
  public AutoCloseable onChange(Runnable listener) {
    return monitor.listen(event -> {
      if (event.name().equals("VSERPORT_CHANGE")
          && event.payload().path("id").asText().equals(DEVICE)) {
        listener.run();
      }
    });
  }
}
