package io.xenferry.sr;

import io.xenferry.sr.memory.MemorySrDriver;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** The same on a mocked back end. */
class MemoryStorageMuxTest extends StorageMuxContract {
  private final MemorySrDriver driver = new MemorySrDriver();

  @Override
  protected SrDriver driver() {
    return driver;
  }

  @Override
  protected Map<String, String> deviceConfig() {
    return Map.of("capacity", "1000000000");
  }

  @Override
  protected Map<String, String> otherConfig() {
    return deviceConfig();
  }

  @Test
  void whatIsNoFileHasNoUrl() {
    assertError(() -> mux.getUrl(sr, vdi), "Unimplemented");
  }
}
