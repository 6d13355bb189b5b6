package io.xenferry.bench.migrate;

import io.xenferry.bench.command.Commands;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.OptionalDouble;
import java.util.OptionalLong;

/** Somebody who can run the guest and move it to the other host. */
interface Contender extends AutoCloseable {

  /** As it is shown, and chosen by. */
  String name();

  /** Starts the guest at the source, with a fresh disk. */
  Guest start(GuestImage image, Rate rate, Trace trace) throws IOException, InterruptedException;

  /** The guest of one run. Closing ends it wherever it is, and removes its disks. */
  interface Guest extends AutoCloseable {

    /**
     * Moves it, and returns when the mover says that it is done.
     *
     * @throws Commands.Overdue when it is not done within the limit; the move was then given up
     */
    Moved move(Duration limit) throws IOException, InterruptedException;

    /** Lets it check its disk, once it runs at the destination. */
    void askForVerdict() throws IOException;

    /** Its disk at the destination. */
    Path movedDisk() throws IOException, InterruptedException;

    @Override
    void close() throws IOException, InterruptedException;
  }

  /**
   * What the mover itself says.
   *
   * @param downtime milliseconds, by the hypervisor
   * @param sent bytes, where it tells
   * @param remark more of it, for people
   */
  record Moved(OptionalDouble downtime, OptionalLong sent, String remark) {}

  @Override
  void close() throws IOException, InterruptedException;
}
