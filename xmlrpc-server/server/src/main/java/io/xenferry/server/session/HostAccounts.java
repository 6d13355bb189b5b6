package io.xenferry.server.session;

import io.xenferry.model.XenApiException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.regex.Pattern;

/**
 * The users and groups of this host: getent(1) and id(1) tell of them, whatever NSS has them from,
 * and PAM checks their passwords as service {@value #SERVICE}, which is {@code other} where the
 * administrator has made no file of that name.
 */
public final class HostAccounts implements Accounts {
  /** In /etc/pam.d. */
  public static final String SERVICE = "xenferry";

  /**
   * What getent may be asked for: no option, and no number that would be taken for an identifier.
   */
  private static final Pattern NAME =
      Pattern.compile("(?![0-9]+$)[A-Za-z0-9_.][A-Za-z0-9_.@\\\\ $-]{0,127}");

  private static final Pattern IDENTIFIER = Pattern.compile("[ug][0-9]{1,10}");

  /** Of one program's run: a directory behind NSS may be slow. */
  private static final long ASK_SECONDS = 20;

  /** Of one password: PAM makes whoever gives a wrong one wait, and may ask others. */
  private static final long CHECK_SECONDS = 60;

  /** Of one answer: a group may have thousands of members. */
  private static final int ANSWER = 1 << 20;

  // Modules block their thread as they like, and cannot be stopped: threads of their own, few.
  private final ThreadPoolExecutor checks =
      new ThreadPoolExecutor(
          2,
          2,
          1,
          TimeUnit.MINUTES,
          new ArrayBlockingQueue<>(32),
          Thread.ofPlatform().daemon().name("pam-", 0).factory());

  private final Optional<Path> configuration;

  /**
   * @param configuration directory of PAM's services; the system's own unless given
   */
  public HostAccounts(Optional<Path> configuration) {
    this.configuration = configuration;
    checks.allowCoreThreadTimeOut(true);
  }

  @Override
  public void requireUsable() throws XenApiException {
    if (!Pam.isInstalled()) {
      throw new XenApiException("AUTH_ENABLE_FAILED", "libpam.so.0 is not installed");
    }
  }

  @Override
  public Optional<String> identifier(String name) throws XenApiException, InterruptedException {
    if (!NAME.matcher(name).matches()) {
      return Optional.empty();
    }
    Optional<String[]> user = entry("passwd", name, 0);
    return user.isPresent()
        ? user.map(fields -> "u" + fields[2])
        : entry("group", name, 0).map(fields -> "g" + fields[2]);
  }

  @Override
  public Optional<SequencedMap<String, String>> information(String identifier)
      throws XenApiException, InterruptedException {
    if (!IDENTIFIER.matcher(identifier).matches()) {
      return Optional.empty();
    }
    String number = identifier.substring(1);
    return identifier.startsWith("u")
        ? entry("passwd", number, 2).map(HostAccounts::ofUser)
        : entry("group", number, 2).map(HostAccounts::ofGroup);
  }

  private static SequencedMap<String, String> ofUser(String[] fields) {
    SequencedMap<String, String> told = new LinkedHashMap<>();
    String words = fields.length > 4 ? fields[4] : "";
    told.put("subject-name", fields[0]);
    told.put("subject-uid", "u" + fields[2]);
    told.put("subject-gid", "g" + (fields.length > 3 ? fields[3] : ""));
    told.put("subject-gecos", words);
    told.put("subject-displayname", words.isEmpty() ? fields[0] : words);
    told.put("subject-is-group", "false");
    // PAM looks at these when somebody logs in.
    for (String state :
        List.of("account-disabled", "account-expired", "account-locked", "password-expired")) {
      told.put("subject-" + state, "false");
    }
    return told;
  }

  private static SequencedMap<String, String> ofGroup(String[] fields) {
    SequencedMap<String, String> told = new LinkedHashMap<>();
    told.put("subject-name", fields[0]);
    told.put("subject-uid", "g" + fields[2]);
    told.put("subject-gid", "g" + fields[2]);
    told.put("subject-displayname", fields[0]);
    told.put("subject-is-group", "true");
    return told;
  }

  @Override
  public List<String> groups(String identifier) throws XenApiException, InterruptedException {
    Optional<SequencedMap<String, String>> known = information(identifier);
    if (known.isEmpty()) {
      return List.of();
    }
    if (identifier.startsWith("g")) {
      return List.of(identifier);
    }
    String name = String.valueOf(known.get().get("subject-name"));
    return ask("id", "-G", "--", name)
        .map(text -> Arrays.stream(text.strip().split("\\s+")).map(gid -> "g" + gid).toList())
        .orElse(List.of());
  }

  /** An entry of one of the system's tables of which a field is what was asked for. */
  private Optional<String[]> entry(String table, String key, int field)
      throws XenApiException, InterruptedException {
    return ask("getent", table, key)
        .map(text -> text.lines().findFirst().orElse("").split(":", -1))
        .filter(fields -> fields.length > 2 && fields[field].equals(key));
  }

  /** What a program says, unless it says that there is nothing. */
  private static Optional<String> ask(String... words)
      throws XenApiException, InterruptedException {
    Process process;
    try {
      process =
          new ProcessBuilder(words)
              .redirectInput(ProcessBuilder.Redirect.from(new java.io.File("/dev/null")))
              .redirectError(ProcessBuilder.Redirect.DISCARD)
              .start();
    } catch (IOException e) {
      throw new XenApiException("AUTH_SERVICE_ERROR", words[0] + " does not start").withCause(e);
    }
    try (InputStream out = process.getInputStream()) {
      Future<byte[]> answer = READERS.submit(() -> out.readNBytes(ANSWER));
      byte[] text = answer.get(ASK_SECONDS, TimeUnit.SECONDS);
      if (!process.waitFor(1, TimeUnit.SECONDS)) {
        throw new TimeoutException();
      }
      return process.exitValue() == 0
          ? Optional.of(new String(text, StandardCharsets.UTF_8))
          : Optional.empty();
    } catch (IOException | ExecutionException | TimeoutException e) {
      throw new XenApiException("AUTH_SERVICE_ERROR", words[0] + " does not answer").withCause(e);
    } finally {
      process.destroyForcibly();
    }
  }

  private static final java.util.concurrent.ExecutorService READERS =
      java.util.concurrent.Executors.newThreadPerTaskExecutor(
          Thread.ofVirtual().name("accounts-", 0).factory());

  @Override
  public Verdict authenticate(String name, String password)
      throws XenApiException, InterruptedException {
    if (!NAME.matcher(name).matches() || password.indexOf('\0') >= 0) {
      return Verdict.WRONG;
    }
    Future<Verdict> verdict;
    try {
      verdict = checks.submit(() -> Pam.check(SERVICE, configuration, name, password));
    } catch (RejectedExecutionException e) {
      throw new XenApiException("AUTH_SERVICE_ERROR", "too many log in at once").withCause(e);
    }
    try {
      return verdict.get(CHECK_SECONDS, TimeUnit.SECONDS);
    } catch (ExecutionException e) {
      throw new XenApiException("AUTH_SERVICE_ERROR", "PAM cannot be asked").withCause(e);
    } catch (TimeoutException e) {
      verdict.cancel(false);
      throw new XenApiException("AUTH_SERVICE_ERROR", "PAM does not answer").withCause(e);
    }
  }

  @Override
  public void close() {
    checks.shutdownNow();
  }
}
