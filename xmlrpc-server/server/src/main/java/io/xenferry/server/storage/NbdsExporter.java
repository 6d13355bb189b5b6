package io.xenferry.server.storage;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.FileBackend;
import io.xenferry.nbd.NbdExport;
import io.xenferry.nbd.NbdExportServer;
import io.xenferry.nbd.NbdUri;
import io.xenferry.nbd.SslUpgrade;
import io.xenferry.server.storage.MigrationDisks.ExportName;
import io.xenferry.sr.AtomicFile;
import io.xenferry.wire.Fingerprint;
import java.io.IOException;
import java.net.BindException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Predicate;
import javax.net.ssl.SSLContext;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Exports images over NBD with TLS, from this process. An export's name towards clients is a secret
 * of 256 bits, and its URL pins this server's certificate.
 *
 * <p>Each export stands in a small file before it can be reached, and the file is gone before it is
 * closed; a server that starts re-opens what its ledger still wants, at the same port if that is
 * free.
 */
final class NbdsExporter implements DiskExporter, AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(NbdsExporter.class);
  private static final String SUFFIX = ".export";

  /** More than a disk may take to end its requests; beyond it the fence has failed. */
  private static final Duration DRAIN = Duration.ofSeconds(30);

  private static final int SECRET_BYTES = 32;

  private final Settings settings;
  private final SecureRandom random = new SecureRandom();
  private final Map<String, ExportName> agreed = new ConcurrentHashMap<>();
  private final Map<String, Noted> noted = new ConcurrentHashMap<>();
  private final Map<String, Served> served = new ConcurrentHashMap<>();
  // Opening and closing, which block.
  private final ReentrantLock lock = new ReentrantLock();
  private Optional<NbdExportServer> server = Optional.empty();

  /**
   * @param directory of the files of open exports
   * @param address to listen at
   * @param port to listen at; 0 leaves the choice to the system
   * @param context with this server's certificate; must let any client through
   * @param fingerprint of this server's certificate
   */
  record Settings(
      Path directory, InetAddress address, int port, SSLContext context, Fingerprint fingerprint) {}

  /** An export by its file. */
  private record Noted(
      String tag, String name, String secret, String client, Path image, int port) {

    static Noted read(Path file) throws IOException {
      Map<String, String> map = AtomicFile.read(file);
      try {
        return new Noted(
            word(map, "tag"),
            word(map, "name"),
            word(map, "secret"),
            map.getOrDefault("client", ""),
            Path.of(word(map, "image")),
            Integer.parseInt(word(map, "port")));
      } catch (IllegalArgumentException e) {
        throw new IOException(file + " is damaged", e);
      }
    }

    private static String word(Map<String, String> map, String key) {
      String word = map.get(key);
      if (word == null) {
        throw new IllegalArgumentException("no " + key);
      }
      return word;
    }

    void write(Path file) throws IOException {
      AtomicFile.write(
          file,
          Map.of(
              "tag",
              tag,
              "name",
              name,
              "secret",
              secret,
              "client",
              client,
              "image",
              image.toString(),
              "port",
              Integer.toString(port)));
    }

    /** Without the secret. */
    @Override
    public String toString() {
      return name + " of " + image;
    }
  }

  /** An export that clients can reach, or could until it was closed. */
  private static final class Served {
    final Noted noted;
    final BlockBackend backend;
    private Optional<CompletableFuture<Void>> drained = Optional.empty();

    Served(Noted noted, BlockBackend backend) {
      this.noted = noted;
      this.backend = backend;
    }

    /** Cuts all connections, once. */
    CompletableFuture<Void> remove(NbdExportServer from) {
      CompletableFuture<Void> end = drained.orElseGet(() -> from.remove(noted.secret));
      drained = Optional.of(end);
      return end;
    }
  }

  NbdsExporter(Settings settings) throws IOException {
    this.settings = settings;
    Files.createDirectories(
        settings.directory(),
        PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
    try (DirectoryStream<Path> files =
        Files.newDirectoryStream(settings.directory(), "*" + SUFFIX)) {
      for (Path file : files) {
        Noted export = Noted.read(file);
        noted.put(export.tag, export);
      }
    }
  }

  private Path file(Noted export) {
    return settings.directory().resolve(export.name + SUFFIX);
  }

  @Override
  public void agree(String tag, ExportName name) {
    agreed.put(tag, name);
  }

  @Override
  public String open(Path image, long size, String tag) throws IOException {
    lock.lock();
    try {
      Served open = served.get(tag);
      if (open != null) {
        return url(open.noted);
      }
      ExportName name =
          Optional.ofNullable(agreed.remove(tag))
              .orElseThrow(() -> new IOException("nobody has agreed on an export of " + tag));
      byte[] secret = new byte[SECRET_BYTES];
      random.nextBytes(secret);
      NbdExportServer listening = listening(settings.port());
      Noted export =
          new Noted(
              tag,
              name.name(),
              HexFormat.of().formatHex(secret),
              name.initiator(),
              image.toAbsolutePath(),
              port(listening));
      export.write(file(export));
      try {
        serve(listening, export);
      } catch (IOException e) {
        forget(export);
        throw e;
      }
      return url(export);
    } finally {
      lock.unlock();
    }
  }

  private void serve(NbdExportServer listening, Noted export) throws IOException {
    FileBackend image = FileBackend.open(export.image, FileBackend.Mode.READ_WRITE);
    NbdExport disk = NbdExport.of(image);
    listening.add(export.secret, export.client.isEmpty() ? disk : disk.onlyFor(export.client));
    served.put(export.tag, new Served(export, image));
  }

  private void forget(Noted export) throws IOException {
    if (Files.deleteIfExists(file(export))) {
      AtomicFile.syncDirectory(settings.directory());
    }
  }

  private NbdExportServer listening(int port) throws IOException {
    if (server.isEmpty()) {
      server =
          Optional.of(
              NbdExportServer.listenForSecrets(
                  new InetSocketAddress(settings.address(), port),
                  NbdExportServer.Limits.DEFAULT,
                  SslUpgrade.server(settings.context())));
    }
    return server.get();
  }

  private static int port(NbdExportServer listening) {
    return ((InetSocketAddress) listening.address()).getPort();
  }

  private String url(Noted export) {
    String host = settings.address().getHostAddress();
    return new NbdsUrl(
            new NbdUri(InetSocketAddress.createUnresolved(host, export.port), export.secret, true),
            settings.fingerprint())
        .text();
  }

  @Override
  public void close(String tag) throws IOException {
    lock.lock();
    try {
      Noted left = noted.remove(tag);
      if (left != null) {
        forget(left);
      }
      Served open = served.get(tag);
      if (open != null) {
        forget(open.noted);
        end(open);
        served.remove(tag);
      }
    } finally {
      lock.unlock();
    }
  }

  /** The fence: cuts the connections, lets what is under way end, and flushes. */
  private void end(Served open) throws IOException {
    try {
      open.remove(server.orElseThrow()).get(DRAIN.toNanos(), TimeUnit.NANOSECONDS);
      open.backend.flush().get(DRAIN.toNanos(), TimeUnit.NANOSECONDS);
      open.backend.close();
    } catch (ExecutionException e) {
      throw new IOException(open.noted + " cannot be flushed", e.getCause());
    } catch (TimeoutException e) {
      throw new IOException(open.noted + " has requests that do not end", e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted while " + open.noted + " was being closed", e);
    }
  }

  @Override
  public boolean isOpen(String tag) {
    return served.containsKey(tag) || noted.containsKey(tag);
  }

  @Override
  public void closeIf(Predicate<String> unwanted) throws IOException {
    for (Served open : List.copyOf(served.values())) {
      if (unwanted.test(open.noted.name)) {
        close(open.noted.tag);
      }
    }
  }

  @Override
  public void takeUp(Predicate<String> wanted) throws IOException {
    lock.lock();
    try {
      for (Noted export : List.copyOf(noted.values())) {
        noted.remove(export.tag);
        if (!wanted.test(export.name)) {
          forget(export);
          continue;
        }
        try {
          serve(reopened(export.port), export);
        } catch (IOException e) {
          // The source cannot reach it and gives up; that is what a lost destination is.
          log.warn("{} cannot be opened again", export, e);
          forget(export);
        }
      }
    } finally {
      lock.unlock();
    }
  }

  private NbdExportServer reopened(int port) throws IOException {
    try {
      return listening(port);
    } catch (BindException e) {
      throw new IOException("port " + port + " is taken by another", e);
    }
  }

  /** Ends the service in this process; the files stay for the next. */
  @Override
  public void close() {
    lock.lock();
    try {
      server.ifPresent(NbdExportServer::close);
      served.values().forEach(open -> open.backend.close());
      served.clear();
      server = Optional.empty();
    } finally {
      lock.unlock();
    }
  }
}
