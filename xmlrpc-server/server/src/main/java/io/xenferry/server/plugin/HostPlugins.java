package io.xenferry.server.plugin;

import io.xenferry.model.Types;
import io.xenferry.model.Value;
import io.xenferry.model.XenApiException;
import io.xenferry.server.config.PluginConfig;
import io.xenferry.wire.Dialect;
import io.xenferry.wire.WireException;
import io.xenferry.wire.XmlRpcCodec;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Semaphore;
import java.util.regex.Pattern;
import org.apache.commons.exec.CommandLine;
import org.apache.commons.exec.DefaultExecutor;
import org.apache.commons.exec.ExecuteWatchdog;
import org.apache.commons.exec.PumpStreamHandler;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Plug-ins as published servers run them: an executable file in one directory, whose only argument
 * is a call in XML-RPC, {@code function(session, arguments)}, and which answers on standard output
 * as a server does. They run as this server. Thread-safe.
 */
public final class HostPlugins implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(HostPlugins.class);

  /** Of a file right in the directory. */
  private static final Pattern NAME = Pattern.compile("[A-Za-z0-9][A-Za-z0-9._+-]{0,127}");

  /** Linux takes no longer argument: 128 KiB with the zero at its end. */
  private static final int ARGUMENT_LIMIT = (128 << 10) - 1;

  /** Of what a program complains. */
  private static final int COMPLAINT_BYTES = 64 << 10;

  private static final Map<String, String> ENVIRONMENT =
      Map.of("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");

  private final PluginConfig config;
  private final Semaphore free;
  private final Set<ExecuteWatchdog> running = ConcurrentHashMap.newKeySet();
  private final XmlRpcCodec codec = new XmlRpcCodec(Dialect.XENAPI);

  public HostPlugins(PluginConfig config) {
    this.config = config;
    this.free = new Semaphore(config.atOnce());
  }

  /**
   * Runs a plug-in to its end.
   *
   * @param session that it may use
   * @return what it answers, as text
   * @throws XenApiException XENAPI_MISSING_PLUGIN, XENAPI_PLUGIN_FAILURE, TOO_BUSY, INVALID_VALUE
   *     for arguments that are too long, or what the plug-in answers
   */
  public String call(String plugin, String function, String session, Value.Struct arguments)
      throws XenApiException {
    Path program = config.directory().resolve(NAME.matcher(plugin).matches() ? plugin : ".");
    if (!Files.isRegularFile(program) || !Files.isExecutable(program)) {
      throw new XenApiException("XENAPI_MISSING_PLUGIN", plugin);
    }
    String call = ascii(codec.writeCall(function, List.of(Value.of(session), arguments)));
    if (call.length() > ARGUMENT_LIMIT) {
      throw new XenApiException("INVALID_VALUE", "args", "longer than a program can be told");
    }
    if (!free.tryAcquire()) {
      throw new XenApiException("TOO_BUSY");
    }
    try {
      return run(program, call);
    } finally {
      free.release();
    }
  }

  /** The programs read it in whatever encoding; all else is written as references. */
  private static String ascii(byte[] xml) {
    StringBuilder text = new StringBuilder();
    new String(xml, StandardCharsets.UTF_8)
        .codePoints()
        .forEach(c -> {
          if (c < 0x80) {
            text.append((char) c);
          } else {
            text.append("&#").append(c).append(';');
          }
        });
    return text.toString();
  }

  private String run(Path program, String call) throws XenApiException {
    CommandLine line = new CommandLine(program.toFile());
    line.addArgument(call, false);
    Limited out = new Limited(config.answerBytes());
    Limited err = new Limited(COMPLAINT_BYTES);
    ExecuteWatchdog watchdog = ExecuteWatchdog.builder().setTimeout(config.deadline()).get();
    DefaultExecutor executor =
        DefaultExecutor.builder()
            .setExecuteStreamHandler(new PumpStreamHandler(out, err))
            .setWorkingDirectory(config.directory().toFile())
            .get();
    executor.setExitValues(null);
    executor.setWatchdog(watchdog);
    running.add(watchdog);
    try {
      int status = executor.execute(line, ENVIRONMENT);
      if (watchdog.killedProcess()) {
        throw failure("it does not end", out, err);
      }
      if (status != 0) {
        throw failure("non-zero exit", out, err);
      }
      if (out.cut()) {
        throw failure("its answer is too long", out, err);
      }
      Value answer = codec.readAnswer(new ByteArrayInputStream(out.bytes()));
      return answer instanceof Value.Text(String text) ? text : Types.databaseText(answer);
    } catch (WireException e) {
      throw failure("its answer is none", out, err).withCause(e);
    } catch (IOException e) {
      LOG.warn("plug-in {} cannot be run", program, e);
      throw failure("it cannot be run", out, err).withCause(e);
    } finally {
      running.remove(watchdog);
    }
  }

  private static XenApiException failure(String what, Limited out, Limited err) {
    return new XenApiException("XENAPI_PLUGIN_FAILURE", what, out.text(), err.text());
  }

  /** Ends those that run. */
  @Override
  public void close() {
    running.forEach(ExecuteWatchdog::destroyProcess);
  }

  /** Keeps so much and drops the rest. */
  private static final class Limited extends OutputStream {
    private final ByteArrayOutputStream kept = new ByteArrayOutputStream();
    private final int limit;
    private boolean cut;

    Limited(int limit) {
      this.limit = limit;
    }

    @Override
    public void write(int b) {
      write(new byte[] {(byte) b}, 0, 1);
    }

    @Override
    public synchronized void write(byte[] b, int offset, int length) {
      int n = Math.min(length, limit - kept.size());
      kept.write(b, offset, n);
      cut |= n < length;
    }

    synchronized boolean cut() {
      return cut;
    }

    synchronized byte[] bytes() {
      return kept.toByteArray();
    }

    String text() {
      return new String(bytes(), StandardCharsets.UTF_8).strip();
    }
  }
}
