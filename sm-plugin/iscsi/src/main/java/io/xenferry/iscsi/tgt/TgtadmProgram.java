package io.xenferry.iscsi.tgt;

import io.xenferry.iscsi.target.TargetException;
import io.xenferry.iscsi.target.TargetException.Kind;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import org.apache.commons.exec.CommandLine;
import org.apache.commons.exec.DefaultExecutor;
import org.apache.commons.exec.ExecuteException;
import org.apache.commons.exec.ExecuteWatchdog;
import org.apache.commons.exec.PumpStreamHandler;

/**
 * The program itself, a process for each command. Every call has a deadline and its output a limit.
 * All logical failures exit with 22, so that standard error alone tells what was wrong.
 */
public final class TgtadmProgram implements Tgtadm {
  private static final int MAX_OUTPUT = 8 * 1024 * 1024;

  private final int control;
  private final Duration timeout;

  /**
   * @param control the daemon's control number, {@code -C}
   * @param timeout of one command; it is killed then
   */
  public TgtadmProgram(int control, Duration timeout) {
    this.control = control;
    this.timeout = timeout;
  }

  @Override
  public String run(String... arguments) throws TargetException {
    CommandLine line = new CommandLine("tgtadm");
    line.addArguments(new String[] {"-C", Integer.toString(control), "--lld", "iscsi"}, false);
    line.addArguments(arguments, false);
    Limited out = new Limited();
    Limited err = new Limited();
    ExecuteWatchdog watchdog = ExecuteWatchdog.builder().setTimeout(timeout).get();
    DefaultExecutor executor =
        DefaultExecutor.builder().setExecuteStreamHandler(new PumpStreamHandler(out, err)).get();
    executor.setWatchdog(watchdog);
    try {
      executor.execute(line);
      return out.text();
    } catch (ExecuteException e) {
      if (watchdog.killedProcess()) {
        throw new TargetException(
            Kind.TIMEOUT, "tgtadm does not end within " + timeout.toMillis() + " ms");
      }
      String said = err.text().strip();
      throw new TargetException(kind(e.getExitValue(), said), "tgtadm: " + said);
    } catch (IOException e) {
      throw new TargetException(Kind.DOWN, "cannot run tgtadm: " + e.getMessage());
    }
  }

  private static Kind kind(int exit, String said) {
    if (exit == 107 || said.contains("failed to send request") || said.contains("can't connect")) {
      return Kind.DOWN;
    }
    if (said.contains("already exist")) {
      return Kind.EXISTS;
    }
    if (said.contains("can't find") || said.contains("does not exist")) {
      return Kind.NOT_FOUND;
    }
    if (said.contains("still active")) {
      return Kind.ACTIVE;
    }
    return said.contains("invalid request") ? Kind.INVALID : Kind.FAILED;
  }

  private static final class Limited extends OutputStream {
    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();

    @Override
    public synchronized void write(int b) throws IOException {
      write(new byte[] {(byte) b}, 0, 1);
    }

    @Override
    public synchronized void write(byte[] from, int offset, int length) throws IOException {
      if (bytes.size() + length > MAX_OUTPUT) {
        throw new IOException("output beyond " + MAX_OUTPUT + " bytes");
      }
      bytes.write(from, offset, length);
    }

    synchronized String text() {
      return bytes.toString(StandardCharsets.UTF_8);
    }
  }
}
