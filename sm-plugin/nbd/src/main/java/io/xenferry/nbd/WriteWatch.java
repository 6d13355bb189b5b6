package io.xenferry.nbd;

import io.xenferry.block.LinkMeter;
import io.xenferry.block.LinkTimes;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;

/**
 * Finds out what the writes of a connection wait for: behind one of them goes an empty trim now and
 * then, which changes nothing, and which a server of ours answers when it has read the write's
 * data.
 */
final class WriteWatch {
  private final NbdChannel channel;
  private final boolean on;
  private final LinkMeter meter = new LinkMeter(System.nanoTime());

  WriteWatch(NbdChannel channel, boolean on) {
    this.channel = channel;
    this.on = on;
  }

  /**
   * Looks at a request, if one is due.
   *
   * @param now when it was asked for
   * @return what to send right behind it; mostly nothing
   */
  Optional<ClientRequest> look(ClientRequest request, long now) {
    if (!on || request.command != NbdProtocol.CMD_WRITE || !meter.isDue(now)) {
      return Optional.empty();
    }
    LinkMeter.Sample sample = meter.begin(now, 0, channel.cipherNanos());
    ClientRequest question = new ClientRequest.Plain(NbdProtocol.CMD_TRIM, 0, 0, Optional.empty());
    tell(sample, request.future, () -> sample.ended(System.nanoTime()));
    tell(
        sample,
        question.future,
        () -> sample.answered(System.nanoTime(), 0, channel.cipherNanos()));
    return Optional.of(question);
  }

  private static void tell(LinkMeter.Sample sample, CompletableFuture<Void> of, Runnable well) {
    of.whenComplete((done, failure) -> {
      if (failure == null) {
        well.run();
      } else {
        sample.dropped(System.nanoTime());
      }
    });
  }

  LinkTimes times() {
    return meter.times();
  }
}
