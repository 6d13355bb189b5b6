package io.xenferry.sr.file;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.block.BlockException.Kind;
import io.xenferry.block.ForwardingBackend;
import io.xenferry.nbd.NbdClient;
import io.xenferry.nbd.NbdUri;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * An image that qemu-nbd serves to this process alone, over a socket that nobody else finds. It
 * ends with its only client, so that a server that dies leaves none behind; QEMU's own locks keep
 * it off images that somebody else writes.
 */
final class NbdImage extends ForwardingBackend {
  private static final Logger log = LoggerFactory.getLogger(NbdImage.class);
  private static final String EXPORT = "disk";
  private static final Duration PATIENCE = Duration.ofSeconds(30);

  private final Process server;
  private final Path image;

  private NbdImage(BlockBackend client, Process server, Path image) {
    super(client);
    this.server = server;
    this.image = image;
  }

  static BlockBackend open(Path image, ImageFormat format, boolean writable) throws BlockException {
    Path directory;
    try {
      directory = Files.createTempDirectory("xenferry-nbd"); // rwx------
    } catch (IOException e) {
      throw new BlockException(Kind.IO, image + ": " + e, e);
    }
    try {
      return open(image, format, writable, directory);
    } catch (IOException e) {
      throw e instanceof BlockException b ? b : new BlockException(Kind.IO, image + ": " + e, e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new BlockException(Kind.CLOSED, image + ": interrupted", e);
    } finally {
      // The connection stays without its name.
      for (String name : List.of("socket", "log")) {
        remove(directory.resolve(name));
      }
      remove(directory);
    }
  }

  private static void remove(Path path) {
    try {
      Files.deleteIfExists(path);
    } catch (IOException e) {
      log.warn("{} is left: {}", path, e.toString());
    }
  }

  private static BlockBackend open(Path image, ImageFormat format, boolean writable, Path directory)
      throws IOException, InterruptedException {
    Path socket = directory.resolve("socket");
    Path output = directory.resolve("log");
    List<String> command =
        new ArrayList<>(
            List.of(
                "qemu-nbd",
                "--format=" + format.word(),
                "--socket=" + socket,
                "--export-name=" + EXPORT,
                "--discard=unmap",
                "--cache=writeback",
                "--allocation-depth"));
    if (!writable) {
      command.add("--read-only");
    }
    command.add(image.toString());
    Process server =
        new ProcessBuilder(command)
            .redirectInput(new File("/dev/null"))
            .redirectErrorStream(true)
            .redirectOutput(output.toFile())
            .start();
    boolean done = false;
    try {
      long end = System.nanoTime() + PATIENCE.toNanos();
      while (!Files.exists(socket)) {
        if (server.waitFor(5, TimeUnit.MILLISECONDS)) {
          throw refused(image, Files.readString(output).strip());
        }
        if (System.nanoTime() - end > 0) {
          throw new BlockException(Kind.TIMEOUT, image + ": qemu-nbd does not begin to serve");
        }
      }
      NbdClient client = connect(socket, server, end);
      done = true;
      return new NbdImage(client, server, image);
    } finally {
      if (!done) {
        server.destroyForcibly();
      }
    }
  }

  /** The socket's name is there an instant before somebody listens. */
  private static NbdClient connect(Path socket, Process server, long end)
      throws BlockException, InterruptedException {
    while (true) {
      try {
        return NbdClient.connect(NbdUri.unix(socket, EXPORT), NbdClient.Options.DEFAULT);
      } catch (BlockException e) {
        if (e.kind() != Kind.LOST || System.nanoTime() - end > 0) {
          throw e;
        }
        if (server.waitFor(5, TimeUnit.MILLISECONDS)) {
          throw e;
        }
      }
    }
  }

  private static BlockException refused(Path image, String said) {
    boolean locked = said.contains("lock");
    return new BlockException(
        locked ? Kind.ACCESS : Kind.IO, image + ": " + (said.isEmpty() ? "qemu-nbd ended" : said));
  }

  @Override
  public String name() {
    return image.toString();
  }

  /** The image is closed, and its locks are given back, when this returns. */
  @Override
  public void close() {
    super.close();
    try {
      if (!server.waitFor(PATIENCE.toMillis(), TimeUnit.MILLISECONDS)) {
        log.warn("qemu-nbd of {} does not end, and is ended", image);
        server.destroyForcibly().waitFor();
      }
    } catch (InterruptedException e) {
      server.destroyForcibly();
      Thread.currentThread().interrupt();
    }
  }
}
