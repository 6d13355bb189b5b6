package io.xenferry.server.session;

import io.xenferry.sr.AtomicFile;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Semaphore;
import javax.crypto.Mac;
import javax.crypto.SecretKeyFactory;
import javax.crypto.spec.PBEKeySpec;
import javax.crypto.spec.SecretKeySpec;

/**
 * Local users in a file that only the server's owner reads: a line a user, {@code
 * name:role:iterations:salt:hash}, hexadecimal, PBKDF2 with HMAC-SHA-512. The user root has the
 * role {@code superuser}.
 *
 * <p>The first start makes root with a random password and writes that into {@code root-password},
 * mode 0600, and nowhere else. Thread-safe.
 */
public final class Users {
  public static final String SUPERUSER = "superuser";

  // Hashing is meant to be slow; more than two at once would let logins starve the guests.
  private final Semaphore hashing = new Semaphore(2, true);
  private final Path file;
  private final int iterations;
  private final Map<String, User> users = new LinkedHashMap<>();

  /** By user: {@link #proof} of the password that was right the last time. */
  private final Map<String, byte[]> proved = new ConcurrentHashMap<>();

  private final byte[] proofKey = new byte[32];

  private static final byte[] NONE = {};

  private record User(String name, String role, int iterations, byte[] salt, byte[] hash) {}

  /**
   * @param directory exists
   */
  public Users(Path directory, int iterations) throws IOException {
    this.file = directory.resolve("users");
    this.iterations = iterations;
    new SecureRandom().nextBytes(proofKey);
    if (Files.exists(file)) {
      for (String line : Files.readAllLines(file)) {
        if (!line.isBlank()) {
          User u = parse(line);
          users.put(u.name(), u);
        }
      }
    } else {
      byte[] random = new byte[15]; // 120 bits
      new SecureRandom().nextBytes(random);
      String password = HexFormat.of().formatHex(random);
      writeOwnerOnly(directory.resolve("root-password"), List.of(password));
      put("root", SUPERUSER, password);
    }
  }

  /**
   * The user's role when the password is right. Takes some 0.2 s, except for the password that was
   * right the last time.
   */
  public Optional<String> authenticate(String name, String password) throws InterruptedException {
    User user;
    synchronized (users) {
      user = users.get(name);
    }
    // An unknown name costs the same time as a wrong password.
    byte[] salt = user == null ? new byte[16] : user.salt();
    int rounds = user == null ? iterations : user.iterations();
    byte[] proof = user == null ? NONE : proof(user, password);
    if (user != null && MessageDigest.isEqual(proof, proved.getOrDefault(name, NONE))) {
      return Optional.of(user.role());
    }
    hashing.acquire();
    byte[] hash;
    try {
      hash = hash(password, salt, rounds);
    } finally {
      hashing.release();
    }
    if (user == null || !MessageDigest.isEqual(hash, user.hash())) {
      return Optional.empty();
    }
    proved.put(name, proof);
    return Optional.of(user.role());
  }

  /**
   * A quick hash that is good for nothing without this process's memory, where the passwords of
   * those who log in are anyway; it dies with it, and with the user's present password.
   */
  private byte[] proof(User user, String password) {
    try {
      Mac mac = Mac.getInstance("HmacSHA256");
      mac.init(new SecretKeySpec(proofKey, "HmacSHA256"));
      mac.update(user.salt());
      mac.update(user.hash());
      return mac.doFinal(password.getBytes(StandardCharsets.UTF_8));
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException(e);
    }
  }

  /** Whether there is such a user. */
  boolean has(String name) {
    synchronized (users) {
      return users.containsKey(name);
    }
  }

  /** Makes or changes a user; durable when it returns. */
  public void put(String name, String role, String password) throws IOException {
    if (!name.matches("[A-Za-z0-9._@-]{1,64}")) {
      throw new IllegalArgumentException("not a user name: " + name);
    }
    byte[] salt = new byte[16];
    new SecureRandom().nextBytes(salt);
    User user = new User(name, role, iterations, salt, hash(password, salt, iterations));
    synchronized (users) {
      users.put(name, user);
      List<String> lines = new ArrayList<>();
      HexFormat hex = HexFormat.of();
      for (User u : users.values()) {
        lines.add(
            String.join(
                ":",
                u.name(),
                u.role(),
                Integer.toString(u.iterations()),
                hex.formatHex(u.salt()),
                hex.formatHex(u.hash())));
      }
      writeOwnerOnly(file, lines);
    }
  }

  private static User parse(String line) throws IOException {
    String[] parts = line.split(":", -1);
    if (parts.length != 5) {
      throw new IOException("users: a line with " + parts.length + " fields");
    }
    try {
      HexFormat hex = HexFormat.of();
      return new User(
          parts[0],
          parts[1],
          Integer.parseInt(parts[2]),
          hex.parseHex(parts[3]),
          hex.parseHex(parts[4]));
    } catch (IllegalArgumentException e) {
      throw new IOException("users: a malformed line", e);
    }
  }

  private static byte[] hash(String password, byte[] salt, int iterations) {
    PBEKeySpec spec = new PBEKeySpec(password.toCharArray(), salt, iterations, 512);
    try {
      return SecretKeyFactory.getInstance("PBKDF2WithHmacSHA512").generateSecret(spec).getEncoded();
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException(e);
    } finally {
      spec.clearPassword();
    }
  }

  /** A crash leaves the old file or the new one. */
  private static void writeOwnerOnly(Path file, List<String> lines) throws IOException {
    Path temporary = file.resolveSibling(file.getFileName() + ".new");
    Files.deleteIfExists(temporary);
    Files.createFile(
        temporary,
        PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
    Files.write(temporary, lines, StandardCharsets.UTF_8, StandardOpenOption.SYNC);
    Files.move(
        temporary, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    AtomicFile.syncDirectory(file.toAbsolutePath().getParent());
  }
}
