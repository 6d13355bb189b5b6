package io.xenferry.spi;

import java.time.Duration;

/**
 * The way to a program in the guest that says what nobody can see from outside. The guest is not
 * trusted. Thread-safe; one question at a time, the others wait within their deadlines.
 */
public interface GuestAgent {

  /**
   * Whether a program in the guest has opened its end. Asks the hypervisor, not the guest: it costs
   * next to nothing.
   */
  boolean present() throws HypervisorException, InterruptedException;

  /**
   * Asks for all that is told here.
   *
   * @param deadline for all of it
   * @throws HypervisorException TIMEOUT when the guest does not answer, PROTOCOL when it answers
   *     nonsense or too much, GONE when there is no way to it
   */
  AgentReport ask(Duration deadline) throws HypervisorException, InterruptedException;

  /**
   * Asks the guest to shut down, as its power button does; it may refuse to, or take its time.
   *
   * @throws HypervisorException as above, REFUSED with the agent's words
   */
  void shutdown(Duration deadline) throws HypervisorException, InterruptedException;

  /** Called, on a thread of the driver's, when a program opens or closes the guest's end. */
  AutoCloseable onChange(Runnable listener);
}
