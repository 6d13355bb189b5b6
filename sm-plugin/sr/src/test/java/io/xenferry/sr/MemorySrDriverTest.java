package io.xenferry.sr;

import static org.assertj.core.api.Assertions.assertThat;

import io.xenferry.block.BlockException;
import io.xenferry.sr.memory.MemorySrDriver;
import java.io.IOException;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class MemorySrDriverTest extends SrDriverContract {
  private final MemorySrDriver driver = new MemorySrDriver();

  @Override
  protected SrDriver driver() {
    return driver;
  }

  @Override
  protected Map<String, String> deviceConfig() {
    return Map.of("capacity", String.valueOf(1L << 40));
  }

  @Test
  void failuresOnDemandAreToldAndLeaveNothing() throws Exception {
    var volumes = driver.volumes(uuid).orElseThrow();
    volumes.follow(step ->
        step.equals("create")
            ? Optional.of(new BlockException(BlockException.Kind.NO_SPACE, "full"))
            : Optional.empty());
    assertFails(() -> sr.create(VdiInfo.request("a", MIB)), SmError.SR_NO_SPACE);
    volumes.follow(step ->
        step.equals("putRecord") ? Optional.of(new IOException("broken")) : Optional.empty());
    assertFails(() -> sr.create(VdiInfo.request("a", MIB)), SmError.VDI_CREATE);
    volumes.follow(step -> Optional.empty());
    assertThat(sr.scan()).isEmpty();
  }

  @Test
  void aFullFileSystemDoesNotKeepWhatFillsIt() throws Exception {
    String vdi = sr.create(VdiInfo.request("a", MIB)).vdi();
    driver
        .volumes(uuid)
        .orElseThrow()
        .follow(step ->
            step.equals("putRecord")
                ? Optional.of(new BlockException(BlockException.Kind.NO_SPACE, "full"))
                : Optional.empty());
    sr.destroyVdi(vdi);
    assertThat(sr.scan()).isEmpty();
  }
}
