package io.xenferry.iscsi;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.iscsi.IscsiUrl.Credentials;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class IscsiUrlTest {
  private static final String IQN = "iqn.2026-01.io.xenferry:vdi-1";

  @Test
  void readsHostPortNameAndUnit() {
    IscsiUrl url = IscsiUrl.parse("iscsi://127.0.0.1:13260/" + IQN + "/1");

    assertThat(url).isEqualTo(new IscsiUrl(Optional.empty(), "127.0.0.1", 13260, IQN, 1));
    assertThat(IscsiUrl.parse("iscsi://nas/" + IQN + "/0").port()).isEqualTo(3260);
  }

  @Test
  void readsAccountsAndKeepsThemOutOfItsName() {
    IscsiUrl url = IscsiUrl.parse("iscsi://bob%s3cret@[::1]:3260/" + IQN + "/2");

    assertThat(url.credentials()).contains(new Credentials("bob", "s3cret"));
    assertThat(url.host()).isEqualTo("::1");
    assertThat(url.toString()).doesNotContain("s3cret").doesNotContain("bob");
    assertThat(url.text()).isEqualTo("iscsi://bob%s3cret@[::1]:3260/" + IQN + "/2");
    assertThat(url.credentials().toString()).doesNotContain("s3cret");
  }

  @ParameterizedTest
  @ValueSource(strings = {"plain", "40abc", "25", "a@b", "a/b", "p%q", "%40", "ab%2Fc", "x%25y"})
  void anySecretSurvivesItsText(String secret) {
    IscsiUrl url = new IscsiUrl(Optional.of(new Credentials("user", secret)), "h", 3260, IQN, 1);

    assertThat(IscsiUrl.parse(url.text())).isEqualTo(url);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "iscsi://",
        "http://h/iqn.2026-01.io.x:y/1",
        "iscsi://h/iqn.2026-01.io.x:y",
        "iscsi://h/iqn.2026-01.io.x:y/-1",
        "iscsi://h/iqn.2026-01.io.x:y/99999",
        "iscsi://h:0/iqn.2026-01.io.x:y/1",
        "iscsi://h:66000/iqn.2026-01.io.x:y/1",
        "iscsi://h/notaname/1",
        "iscsi://u%p@/iqn.2026-01.io.x:y/1",
        "iscsi://h/iqn.2026-01.io.x:y z/1"
      })
  void refusesWhatIsNoUrl(String text) {
    assertThatThrownBy(() -> IscsiUrl.parse(text)).isInstanceOf(IllegalArgumentException.class);
  }
}
