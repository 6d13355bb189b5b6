package io.xenferry.server.http;

import java.io.IOException;
import java.net.BindException;
import java.net.ConnectException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.PosixFilePermissions;
import org.eclipse.jetty.server.ConnectionFactory;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.jspecify.annotations.Nullable;

/**
 * Jetty's connector on a Unix socket of mode 0600: whoever can connect is the server's own user or
 * root.
 */
final class UnixConnector extends ServerConnector {
  private final Path path;
  private volatile @Nullable ServerSocketChannel listening;

  UnixConnector(Server server, Path path, ConnectionFactory... factories) {
    super(server, 1, 1, factories);
    this.path = path;
  }

  @Override
  public void open() throws IOException {
    if (listening != null) {
      return;
    }
    removeLeftSocket();
    ServerSocketChannel channel = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
    try {
      channel.bind(UnixDomainSocketAddress.of(path));
      Files.setPosixFilePermissions(path, PosixFilePermissions.fromString("rw-------"));
    } catch (IOException e) {
      channel.close();
      // The kernel's words name no file.
      throw new IOException("cannot listen at " + path + ": " + e.getMessage(), e);
    }
    addBean(channel);
    listening = channel;
  }

  /**
   * A killed server leaves its socket behind. Nothing else is removed: neither another kind of file
   * nor a socket on which somebody answers.
   */
  private void removeLeftSocket() throws IOException {
    if (!Files.exists(path, LinkOption.NOFOLLOW_LINKS)) {
      return;
    }
    if (!Files.readAttributes(path, BasicFileAttributes.class, LinkOption.NOFOLLOW_LINKS)
        .isOther()) {
      throw new FileAlreadyExistsException(path.toString(), null, "it is no Unix socket");
    }
    try (SocketChannel probe = SocketChannel.open(UnixDomainSocketAddress.of(path))) {
      throw new BindException("somebody listens at " + probe.getRemoteAddress() + " already");
    } catch (ConnectException nobody) {
      Files.deleteIfExists(path);
    }
  }

  @Override
  public boolean isOpen() {
    ServerSocketChannel channel = listening;
    return channel != null && channel.isOpen();
  }

  @Override
  public void accept(int acceptorId) throws IOException {
    ServerSocketChannel channel = listening;
    if (channel == null) {
      throw new ClosedChannelException();
    }
    SocketChannel accepted = channel.accept();
    accepted.configureBlocking(false);
    getSelectorManager().accept(accepted);
  }

  @Override
  public void close() {
    ServerSocketChannel channel = listening;
    listening = null;
    if (channel != null) {
      removeBean(channel);
      try {
        channel.close();
        Files.deleteIfExists(path);
      } catch (IOException e) {
        throw new java.io.UncheckedIOException(e);
      }
    }
  }

  @Override
  public @Nullable Object getTransport() {
    return listening;
  }
}
