package io.xenferry.model.db;

import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.util.concurrent.CompletableFuture;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Tries a change until it can be stored. */
final class Insistence {
  private static final Logger log = LoggerFactory.getLogger(Insistence.class);

  /** Room is made by people, and a try costs next to nothing. */
  private static final long PAUSE_MILLIS = 1000;

  private Insistence() {}

  /** Whether it needs no other attempt. */
  static boolean attempt(
      ObjectDatabase database, ObjectDatabase.Change change, CompletableFuture<Void> made) {
    try {
      database.change(change);
      made.complete(null);
      return true;
    } catch (XenApiException e) {
      if (e.getCause() instanceof IOException) {
        return false;
      }
      made.completeExceptionally(e);
      return true;
    } catch (RuntimeException e) {
      made.completeExceptionally(e);
      return true;
    }
  }

  static void until(
      ObjectDatabase database, ObjectDatabase.Change change, CompletableFuture<Void> made) {
    log.warn("a change that must be made cannot be stored; it is tried again until it can be");
    try {
      do {
        Thread.sleep(PAUSE_MILLIS);
      } while (!attempt(database, change, made));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      made.completeExceptionally(e);
    }
  }
}
