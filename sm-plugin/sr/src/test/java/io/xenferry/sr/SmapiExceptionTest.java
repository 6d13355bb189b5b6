package io.xenferry.sr;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.model.XenApiException;
import org.junit.jupiter.api.Test;

class SmapiExceptionTest {
  private static final String SENTENCE = "why it failed";

  private static XenApiException shown(SmError error) {
    return SmapiException.failure(error, SENTENCE).toXenApi("OpaqueRef:disk");
  }

  @Test
  void whatXenApiHasACodeForIsShownByItWithTheReason() {
    assertThat(shown(SmError.VDI_IN_USE).code()).isEqualTo("VDI_IN_USE");
    assertThat(shown(SmError.VDI_IN_USE).params()).containsExactly("OpaqueRef:disk", SENTENCE);
    assertThat(shown(SmError.SR_IN_USE).code()).isEqualTo("SR_DEVICE_IN_USE");
    assertThat(shown(SmError.SR_IN_USE).params()).containsExactly(SENTENCE);
    assertThat(shown(SmError.SR_NOT_EMPTY).code()).isEqualTo("SR_NOT_EMPTY");
    assertThat(shown(SmError.SR_NOT_EMPTY).params()).containsExactly(SENTENCE);
  }

  @Test
  void anyOtherFailureKeepsItsNumber() {
    assertThat(shown(SmError.EIO).code()).isEqualTo("SR_BACKEND_FAILURE_200");
    assertThat(shown(SmError.EIO).params()).containsExactly("", SENTENCE, "");
  }

  @Test
  void theWireOfSmapiHasTheNumberInAnyCase() {
    assertThat(SmapiException.failure(SmError.VDI_IN_USE, SENTENCE).toValue().toString())
        .contains("SR_BACKEND_FAILURE_24", SENTENCE);
  }
}
