package io.xenferry.fuzz;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.Logger;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.classic.spi.ThrowableProxy;
import ch.qos.logback.core.AppenderBase;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
import org.slf4j.LoggerFactory;

/**
 * What went wrong on threads of the product's own: an error in the log, or an exception that nobody
 * caught. No input from outside may be the cause of either.
 */
final class Troubles extends AppenderBase<ILoggingEvent> {
  private final AtomicReference<@Nullable Throwable> first = new AtomicReference<>();

  /** Watches from now on; what is not an error is not logged at all. */
  static Troubles watch() {
    Troubles troubles = new Troubles();
    Logger root = (Logger) LoggerFactory.getLogger(org.slf4j.Logger.ROOT_LOGGER_NAME);
    root.detachAndStopAllAppenders();
    root.setLevel(Level.ERROR);
    troubles.setContext(root.getLoggerContext());
    troubles.start();
    root.addAppender(troubles);
    Thread.setDefaultUncaughtExceptionHandler((thread, e) -> troubles.first.compareAndSet(null, e));
    return troubles;
  }

  @Override
  protected void append(ILoggingEvent event) {
    Throwable cause =
        event.getThrowableProxy() instanceof ThrowableProxy p ? p.getThrowable() : null;
    first.compareAndSet(null, new AssertionError(event.getFormattedMessage(), cause));
  }

  /** Fails if there was any since the last time. */
  void none() {
    Throwable trouble = first.getAndSet(null);
    if (trouble != null) {
      throw new AssertionError("on another thread: " + trouble.getMessage(), trouble);
    }
  }
}
