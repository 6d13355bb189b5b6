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
    assertThat(Migration.words(new IOException("Broken pipe"))).isEqualTo("Broken pipe");
    assertThat(Migration.words(new ConnectException()))
        .isEqualTo("connection refused, or no way there");
    assertThat(Migration.words(new TimeoutException())).isEqualTo("it came too late");
    assertThat(Migration.words(new ClosedChannelException())).isEqualTo("ClosedChannelException");
  }
}
