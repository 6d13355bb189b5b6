package io.xenferry.spi;

import java.nio.file.Path;
import java.util.Optional;

/**
 * Merges of two images of a guest's disk while it runs: what the upper one holds is written into
 * the one below, and then the guest goes on without the upper one. One at a time for each disk.
 * What was begun goes on when this server dies, and waits in {@link Phase#HELD} unless the guest's
 * writes would have to wait as well; a later server finds it. Methods block with deadlines of their
 * own; thread-safe.
 */
public interface ImageMerging {

  /** How far one is. */
  enum Phase {
    /** There is none. */
    NONE,
    COPYING,
    /** Nearly everything is written; the rest follows the guest's writes until {@link #hold}. */
    CONVERGED,
    /**
     * Everything is in the lower image, and nothing is written to the upper one: the guest's writes
     * wait, if they would go there.
     */
    HELD,
    /** It has ended without effect; {@link #cancel} removes what is left of it. */
    FAILED
  }

  /**
   * @param done bytes
   * @param total bytes, which may grow
   * @param error why it failed; else empty
   */
  record Progress(Phase phase, long done, long total, String error) {}

  /**
   * Begins one.
   *
   * @param upper names {@code lower} as the one below it, by its name in the same directory
   * @param bytesPerSecond limit; 0 for none
   */
  void begin(String device, Path upper, Path lower, long bytesPerSecond)
      throws HypervisorException, InterruptedException;

  Progress progress(String device) throws HypervisorException, InterruptedException;

  /** Another limit. */
  void limit(String device, long bytesPerSecond) throws HypervisorException, InterruptedException;

  /**
   * Where this server notes that a merge is to be finished.
   *
   * @param file of properties that is replaced as a whole
   * @param value of the key, from when on the lower image is right; with any other value the upper
   *     one is
   */
  record Decision(Path file, String key, String value) {}

  /**
   * From CONVERGED; HELD comes soon.
   *
   * @param decision by which the merge is ended when this server dies before {@link #finish} or
   *     {@link #cancel}; empty when the guest's writes do not wait for them
   */
  void hold(String device, Optional<Decision> decision)
      throws HypervisorException, InterruptedException;

  /** From HELD: everything in the lower image is on stable storage when this returns. */
  void flush(String device, Path lower) throws HypervisorException, InterruptedException;

  /** From HELD: the guest goes on without the upper image. */
  void finish(String device) throws HypervisorException, InterruptedException;

  /** The guest goes on with both images; does nothing when there is none. */
  void cancel(String device) throws HypervisorException, InterruptedException;

  /** Whether the guest has the image open for the disk, written or below the one that is. */
  boolean has(String device, Path image) throws HypervisorException, InterruptedException;
}
