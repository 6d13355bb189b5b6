package io.xenferry.bench.target;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.regex.Matcher;
import org.junit.jupiter.api.Test;

class TargetSpeedTest {
  /** Of fio 3.33, up to where the figures of writes begin and some more. */
  private static final String TERSE =
      "a line before\n"
          + "3;fio-3.33;load;0;0;528;528000;132000;1;0;0;0.000000;0.000000;0;8;0.07"
          + "6856;0.762688;1.000000%=0;5.000000%=0;10.000000%=0;20.000000%=0;30.000"
          + "000%=0;40.000000%=0;50.000000%=0;60.000000%=0;70.000000%=0;80.000000%="
          + "0;90.000000%=0;95.000000%=0;99.000000%=0;99.500000%=8;99.900000%=8;99."
          + "950000%=8;99.990000%=8;0%=0;0%=0;0%=0;0;9;0.093848;0.828851;0;0;0.0000"
          + "00%;0.000000;0.000000;496;496000;124000;1;0;0"
          + "\n";

  private static String found(boolean write) {
    Matcher matcher = TargetSpeed.iops(write).matcher(TERSE);
    assertThat(matcher.find()).isTrue();
    return matcher.group(1);
  }

  @Test
  void findsReadsAndWritesInWhatFioPrints() {
    assertThat(found(false)).isEqualTo("132000");
    assertThat(found(true)).isEqualTo("124000");
  }
}
