package io.xenferry.model;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;

class XenApiExceptionTest {

  @Test
  void echoesNoMoreThanAKibibyteOfAParameter() {
    String fits = "x".repeat(1024);
    assertThat(new XenApiException("SESSION_INVALID", fits, "").params()).containsExactly(fits, "");
    XenApiException long1 = new XenApiException("SESSION_INVALID", "x".repeat(300_000));
    assertThat(long1.params()).containsExactly("x".repeat(1021) + "…");
    assertThat(long1.getMessage()).hasSizeLessThan(1100);
    for (String character : new String[] {"é", "€", "\uD83D\uDE00"}) {
      for (int shift = 0; shift < 4; shift++) {
        String cut =
            new XenApiException("X", "x".repeat(shift) + character.repeat(2000))
                .params()
                .getFirst();
        assertThat(cut.getBytes(StandardCharsets.UTF_8).length).isBetween(1020, 1024);
        assertThat(cut.substring(shift)).matches("(" + character + ")+…");
      }
    }
  }
}
