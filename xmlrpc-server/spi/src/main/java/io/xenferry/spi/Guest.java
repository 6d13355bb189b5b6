package io.xenferry.spi;

import io.xenferry.copy.Snapshots;
import io.xenferry.copy.SourceDisk;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.function.Consumer;

/**
 * One guest. Methods block with deadlines of their own and may be interrupted; thread-safe.
 *
 * <p>Sending the memory, in order: {@link #sendMemory} while the guest runs, {@link
 * #pauseForSwitch} once little is left, until it is seen in {@link State#PRE_SWITCHOVER}, paused,
 * then {@link #finishMemory}, then {@link State#SENT}.
 *
 * <p>Up to SENT the hypervisor lets a guest that ran when the sending began <b>run again by
 * itself</b>, as soon as the sending is cancelled or fails (its peer gone, for example); one that
 * was paused when it began stays paused. From SENT on nothing but {@link #resume} lets it run. So
 * up to SENT the gate has to allow it to run here, and who must be sure that it stands still waits
 * for SENT.
 */
public interface Guest {

  /** What the guest is doing. */
  enum State {
    RUNNING,
    PAUSED,
    /** Waits for a memory stream, or is receiving it. */
    INCOMING,
    /** The memory stream is complete; paused. */
    RECEIVED,
    /** Paused by the hypervisor, the rest of the memory not yet sent. */
    PRE_SWITCHOVER,
    /** Memory sent and the hypervisor's own migration ended; paused for good unless resumed. */
    SENT,
    /** The guest has shut itself down; its process still exists. */
    SHUTDOWN,
    /** The guest has panicked and stands still; its process still exists. */
    CRASHED,
    /** The process is gone. */
    GONE
  }

  UUID vm();

  /** Asks the guest's process; GONE is an answer, not an exception. */
  State state() throws HypervisorException, InterruptedException;

  void pause() throws HypervisorException, InterruptedException;

  /** Lets it run, from PAUSED, RECEIVED or SENT. The gate has been asked. */
  void resume() throws HypervisorException, InterruptedException;

  /** Asks the guest to shut down; it may refuse to. */
  void shutdown() throws HypervisorException, InterruptedException;

  /** Resets the guest and lets it run, from RUNNING, PAUSED, SHUTDOWN or CRASHED. */
  void restart() throws HypervisorException, InterruptedException;

  /** Ends the process, and returns when it is gone. Idempotent. */
  void destroy() throws HypervisorException, InterruptedException;

  List<String> devices();

  /** A way to look at the guest and to type. */
  enum Console {
    /** The first serial port: bytes both ways. */
    TEXT,
    /** The screen, by RFB (RFC 6143) without authentication. */
    SCREEN
  }

  /**
   * The stream socket at which a console is served; whether more than one client at a time is, is
   * the hypervisor's affair. Empty when the guest has no such console.
   */
  Optional<Path> console(Console kind);

  /**
   * What the guest has used since its process began here. Figures that cannot be had are left out
   * of it; it fails only where nothing at all can be had.
   *
   * @param deadline for each question to the hypervisor
   */
  Usage usage(Duration deadline) throws HypervisorException, InterruptedException;

  /** The way to an agent in the guest; empty where the machine has none. */
  default Optional<GuestAgent> agent() {
    return Optional.empty();
  }

  /** What can be given to the guest and taken from it. */
  Hardware hardware();

  /** Offers a disk for copying; starts noting its writes. */
  SourceDisk source(String device) throws HypervisorException, InterruptedException;

  /**
   * The same, for a copy that has what lies below already.
   *
   * @param layers how many of the disk's topmost images the first pass is about; 0 for all
   */
  default SourceDisk source(String device, int layers)
      throws HypervisorException, InterruptedException {
    if (layers == 0) {
      return source(device);
    }
    throw new HypervisorException(
        HypervisorException.Kind.REFUSED, "this hypervisor's guests have no layered disks");
  }

  /**
   * The same, for a copy that a server after this one may go on with.
   *
   * @param copy names it among all copies of the disk; at most 64 letters, digits and hyphens
   */
  default SourceDisk source(String device, int layers, String copy)
      throws HypervisorException, InterruptedException {
    return source(device, layers);
  }

  /**
   * Offers a disk for a copy that a server before this one has begun. Its first pass has whatever
   * was written since the last one that had ended began, and perhaps more; what the copy still had
   * to send besides is for its own log to know.
   *
   * @param layers and {@code copy} as then
   * @return empty when the writes have not all been noted since then: the guest runs in another
   *     process, or the hypervisor cannot say so. Nothing is changed then
   */
  default Optional<SourceDisk> sourceAgain(String device, int layers, String copy)
      throws HypervisorException, InterruptedException {
    return Optional.empty();
  }

  /**
   * Whether the hypervisor notes what the guest writes to a disk, so that {@link #source} can offer
   * it. One without that is copied by snapshots of its storage, with {@link #changeImages} and
   * {@link #still}.
   */
  default boolean hasDirtyLog(String device) {
    return true;
  }

  /**
   * A disk of a guest that stands still, as it is now.
   *
   * @param layers how many of the disk's topmost images the ranges are about, what reads as zeroes
   *     there included; 0 for all that does not read as zeroes
   */
  default Snapshots.Content still(String device, int layers)
      throws HypervisorException, InterruptedException {
    throw new HypervisorException(
        HypervisorException.Kind.REFUSED, "this hypervisor does not show its guests' disks");
  }

  /**
   * A disk's image, and the one that is to be on top of it.
   *
   * @param next qcow2, empty, and names {@code now} as the one below it
   */
  record NextImage(String device, Path now, Path next) {}

  /**
   * Lets disks go on with other images, all at the same instant of the guest.
   *
   * @throws HypervisorException REFUSED when nothing has changed; else that is unknown, and {@link
   *     #image} tells
   */
  default void changeImages(List<NextImage> images)
      throws HypervisorException, InterruptedException {
    throw new HypervisorException(
        HypervisorException.Kind.REFUSED, "this hypervisor takes no snapshots of running guests");
  }

  /**
   * Lets a disk go on with another image, of the same content, which nobody else has open. The
   * guest stands still, or only reads the disk. Repeating it is no error.
   *
   * @param next names the device
   * @throws HypervisorException REFUSED when nothing has changed; else that is unknown, and {@link
   *     #image} tells
   */
  default void replaceImage(GuestSpec.Disk next) throws HypervisorException, InterruptedException {
    throw new HypervisorException(
        HypervisorException.Kind.REFUSED, "this hypervisor's guests keep their images");
  }

  /** The image that a disk writes now. */
  default Path image(String device) throws HypervisorException, InterruptedException {
    throw new HypervisorException(
        HypervisorException.Kind.REFUSED, "this hypervisor does not tell its guests' images");
  }

  /** Merging of images that the guest has; empty where disks have one image each. */
  default Optional<ImageMerging> merging() {
    return Optional.empty();
  }

  /**
   * Makes a disk larger, and tells the guest.
   *
   * @param bytes not less than it has
   */
  default void resize(String device, long bytes) throws HypervisorException, InterruptedException {
    throw new HypervisorException(
        HypervisorException.Kind.REFUSED, "this hypervisor's guests have disks of one size");
  }

  /**
   * Slows the guest's writes, so that a copy converges.
   *
   * @param bytesPerSecond what the writes to all disks together may make dirty, in the blocks in
   *     which the hypervisor notes that, or nearly nothing where this is less; 0 lifts the limit
   */
  void throttle(long bytesPerSecond) throws HypervisorException, InterruptedException;

  /**
   * Starts sending the memory to a stream socket of this host. The guest runs on, and the
   * hypervisor does not pause it (its downtime limit stays at nearly nothing) before {@link
   * #pauseForSwitch}: should this server die, the guest is not left paused. Only a guest of whose
   * memory nothing at all is left to send may be seen in PRE_SWITCHOVER earlier.
   *
   * @param bytesPerSecond limit until {@link #pauseForSwitch}; 0 for none
   */
  void sendMemory(Path unixSocket, long bytesPerSecond)
      throws HypervisorException, InterruptedException;

  /**
   * Changes the limit of {@link #sendMemory}, before {@link #holdMemory} and {@link
   * #pauseForSwitch}. Returns at once.
   *
   * @param bytesPerSecond 0 for none
   */
  void limitMemory(long bytesPerSecond) throws HypervisorException, InterruptedException;

  /**
   * Holds the sending nearly still, so that it does not come to its end, and the guest is not
   * paused, before {@link #pauseForSwitch}, which lets it go again. Returns at once.
   */
  void holdMemory() throws HypervisorException, InterruptedException;

  /**
   * Lets the hypervisor pause the guest, by raising its downtime limit; the guest is then soon seen
   * in PRE_SWITCHOVER. The rest is sent as fast as it goes. Returns at once.
   */
  void pauseForSwitch(Duration downtime) throws HypervisorException, InterruptedException;

  /** Sends the rest, from PRE_SWITCHOVER. Returns at once; watch {@link #state}. */
  void finishMemory() throws HypervisorException, InterruptedException;

  /**
   * Ends the sending, and returns when it has ended: the guest is then as it was when the sending
   * began, see the class comment. Does nothing when nothing is being sent, and leaves one that is
   * SENT as it is.
   */
  void cancelSend() throws HypervisorException, InterruptedException;

  MemoryProgress memoryProgress() throws HypervisorException, InterruptedException;

  /** Where an incoming guest listens for the stream. */
  Path incomingSocket();

  /**
   * A name for the socket at which the caller takes the stream of {@link #sendMemory}, among the
   * guest's own files, so that what a killed server leaves there ends with the guest. For one
   * stream at a time.
   */
  Path outgoingSocket();

  /**
   * Makes the disks of a RECEIVED guest its own, still paused: everything that can fail about them
   * fails here.
   */
  void activate() throws HypervisorException, InterruptedException;

  /** Tells the networks where the guest's MACs are now. */
  void announce() throws HypervisorException, InterruptedException;

  /**
   * The guest has set its machine's clock: by how much that is ahead of the host's UTC now. Called
   * on a thread of the driver's; what it sets while no server is there is not told.
   */
  default AutoCloseable onClock(Consumer<Duration> listener) {
    return () -> {};
  }

  /** State changes, the end of the process included; called on a thread of the driver's. */
  AutoCloseable onChange(Consumer<State> listener);

  /** Bytes of memory: sent so far, still to send, and the rate at which the guest dirties it. */
  record MemoryProgress(long sent, long remaining, long dirtyPerSecond) {}
}
