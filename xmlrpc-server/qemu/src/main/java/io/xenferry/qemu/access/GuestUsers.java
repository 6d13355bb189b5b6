package io.xenferry.qemu.access;

import java.io.File;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** As whom the guests of this host run. */
public sealed interface GuestUsers {

  /**
   * @param directory the guest's, the same for a guest whichever server asks
   * @return empty for the server's own user
   */
  Optional<GuestUser> of(Path directory);

  /** All as the server. */
  record Server() implements GuestUsers {
    @Override
    public Optional<GuestUser> of(Path directory) {
      return Optional.empty();
    }
  }

  /** All as one user, who can then reach what belongs to any of them. */
  record Account(GuestUser user) implements GuestUsers {
    @Override
    public Optional<GuestUser> of(Path directory) {
      return Optional.of(user);
    }
  }

  /**
   * Each as a user of its own. Who it is follows from the guest's directory, so that there are no
   * books that a killed server could leave wrong.
   *
   * @param first the group of all
   * @param last not before the second
   */
  record Range(int first, int last) implements GuestUsers {
    @Override
    public Optional<GuestUser> of(Path directory) {
      try {
        byte[] hash =
            MessageDigest.getInstance("SHA-256")
                .digest(directory.toString().getBytes(StandardCharsets.UTF_8));
        long number = ByteBuffer.wrap(hash).getLong() >>> 1;
        return Optional.of(new GuestUser((int) (first + 1 + number % (last - first)), first));
      } catch (NoSuchAlgorithmException e) {
        throw new IllegalStateException("every JVM has SHA-256", e);
      }
    }
  }

  /**
   * Users of {@code auto}: systemd's table of user ids (UIDS-GIDS) has nobody between 1879048192
   * and 2147483647, and containers' ranges end below. In fifty million two of a thousand guests are
   * the same with a chance of 1 %.
   */
  Range RANGE = new Range(1_900_000_000, 1_950_000_000);

  /**
   * From what an administrator has written.
   *
   * @param words {@code server}, {@code auto}, {@code FIRST-LAST}, or the name or number of an
   *     account
   * @throws IOException when this server cannot start processes as them, with what to do
   */
  static GuestUsers parse(String words) throws IOException {
    Matcher range = Words.RANGE.matcher(words);
    if (words.equals("server")) {
      return new Server();
    }
    if (words.equals("auto")) {
      Optional<String> obstacle = Words.obstacle(RANGE.last());
      obstacle.ifPresent(
          why -> Words.log.warn("guests run as the server's own user, since {}", why));
      return obstacle.isEmpty() ? RANGE : new Server();
    }
    GuestUsers users = range.matches() ? Words.range(range) : new Account(Words.account(words));
    int highest =
        switch (users) {
          case Range(int first, int last) -> last;
          case Account(GuestUser user) -> user.uid();
          case Server() -> 0;
        };
    Optional<String> obstacle = Words.obstacle(highest);
    if (obstacle.isPresent()) {
      throw new IOException(
          "guests cannot run as " + words + ", since " + obstacle.get() + ": --guest-user=server");
    }
    return users;
  }

  /** How the words are read. */
  final class Words {
    private static final Logger log = LoggerFactory.getLogger(GuestUsers.class);
    private static final Pattern RANGE = Pattern.compile("([0-9]{1,10})-([0-9]{1,10})");
    private static final Pattern NAME = Pattern.compile("[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}");
    private static final Path UID_MAP = Path.of("/proc/self/uid_map");

    /**
     * By capability.h: DAC_OVERRIDE 1, FOWNER 3, KILL 5, SETGID 6, SETUID 7, SETPCAP 8, and, to see
     * the locks of guests in /proc, SYS_PTRACE 19.
     */
    private static final long CAPABILITIES = (1 << 1) | (1 << 3) | (1 << 5) | (7 << 6) | (1 << 19);

    private static final long DEADLINE_SECONDS = 10;

    private Words() {}

    private static Range range(Matcher range) throws IOException {
      long first = Long.parseLong(range.group(1));
      long last = Long.parseLong(range.group(2));
      if (first < 1 || last <= first || last > Integer.MAX_VALUE) {
        throw new IOException("users are between 1 and 2147483647, two at least: " + range.group());
      }
      return new Range((int) first, (int) last);
    }

    private static GuestUser account(String name) throws IOException {
      if (!NAME.matcher(name).matches()) {
        throw new IOException("no name of a user: " + name);
      }
      GuestUser user = new GuestUser(id("-u", name), id("-g", name));
      if (user.uid() == 0) {
        throw new IOException(name + " is no user without rights");
      }
      return user;
    }

    private static int id(String what, String name) throws IOException {
      Process process =
          new ProcessBuilder("id", what, "--", name).redirectErrorStream(true).start();
      try {
        String words =
            new String(process.getInputStream().readNBytes(300), StandardCharsets.UTF_8).strip();
        if (!process.waitFor(DEADLINE_SECONDS, TimeUnit.SECONDS) || process.exitValue() != 0) {
          throw new IOException("there is no user " + name + ": " + words);
        }
        return Integer.parseInt(words);
      } catch (NumberFormatException e) {
        throw new IOException("the user id of " + name + " is none", e);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new IOException("interrupted", e);
      } finally {
        process.destroyForcibly();
      }
    }

    private static boolean hasCapabilities() throws IOException {
      for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
        if (line.startsWith("CapEff:")) {
          long has = Long.parseUnsignedLong(line.substring("CapEff:".length()).strip(), 16);
          return (has & CAPABILITIES) == CAPABILITIES;
        }
      }
      return false;
    }

    private static Optional<String> obstacle(int highest) throws IOException {
      if (!AccessList.isRoot()) {
        return Optional.of("it does not run as root");
      }
      if (Arrays.stream(System.getenv().getOrDefault("PATH", "").split(File.pathSeparator))
          .noneMatch(place -> Files.isExecutable(Path.of(place, "setpriv")))) {
        return Optional.of("there is no program setpriv (Debian package util-linux)");
      }
      if (!hasCapabilities()) {
        return Optional.of("this container has not all of root's capabilities (SYS_PTRACE?)");
      }
      for (String line : Files.readAllLines(UID_MAP)) {
        String[] words = line.strip().split("\\s+");
        long from = Long.parseLong(words[0]);
        if (from <= 1 && from + Long.parseLong(words[2]) > highest) {
          return Optional.empty();
        }
      }
      return Optional.of("this container has no user " + highest);
    }
  }
}
