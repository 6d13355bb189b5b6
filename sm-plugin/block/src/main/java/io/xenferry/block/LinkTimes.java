package io.xenferry.block;

import java.time.Duration;

/**
 * What writes to a remote device have spent their time with, as far as some of them tell: what is
 * left of the time after processor, encryption and network is the device's own.
 *
 * @param sampled from their issue to their end, all that were looked at together
 * @param processor of that, while they were on their way: the thread that carries them ran, or
 *     waited for a processor
 * @param encryption of that, while they were on their way: data was encrypted
 * @param network the rest of the way: the network, and whoever takes the bytes off it at the far
 *     end
 */
public record LinkTimes(
    Duration sampled, Duration processor, Duration encryption, Duration network) {
  /** There is no link, or nobody has looked. */
  public static final LinkTimes NONE =
      new LinkTimes(Duration.ZERO, Duration.ZERO, Duration.ZERO, Duration.ZERO);

  /** Those of two links together, or of one before and after it was lost. */
  public LinkTimes plus(LinkTimes other) {
    return new LinkTimes(
        sampled.plus(other.sampled),
        processor.plus(other.processor),
        encryption.plus(other.encryption),
        network.plus(other.network));
  }
}
