package io.xenferry.migration.flow;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.net.ConnectException;
import java.nio.channels.ClosedChannelException;
import java.util.concurrent.TimeoutException;
import org.junit.jupiter.api.Test;

/** What an administrator reads of failures. */
class WordsOfFailuresTest {
  @Test
  void aFailureWithoutAMessageIsNamedAllTheSame() {
    assertThat(Effects.words(new IOException("Broken pipe"))).isEqualTo("Broken pipe");
    assertThat(Effects.words(new ConnectException()))
        .isEqualTo("connection refused, or no way there");
    assertThat(Effects.words(new TimeoutException())).isEqualTo("it came too late");
    assertThat(Effects.words(new ClosedChannelException())).isEqualTo("ClosedChannelException");
  }
}
