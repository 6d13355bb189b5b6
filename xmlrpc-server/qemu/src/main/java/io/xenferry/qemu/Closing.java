package io.xenferry.qemu;

import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Gives up what may fail to be given up without consequence. */
final class Closing {
  private static final Logger log = LoggerFactory.getLogger(Closing.class);

  private Closing() {}

  static void quietly(AutoCloseable resource) {
    try {
      resource.close();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } catch (Exception e) {
      log.debug("closing", e);
    }
  }
}
