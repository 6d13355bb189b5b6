package io.xenferry.xe.client;

import io.xenferry.xe.protocol.Greeting;
import io.xenferry.xe.protocol.Message;
import io.xenferry.xe.protocol.MessageCodec;
import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.Channels;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;

/**
 * Runs the client once over a Unix socket and once over TLS, against servers in this process, so
 * that an AOT cache written at the end of the run holds what real use needs. Only the build runs
 * this.
 *
 * <pre>
 * java -XX:+UseSerialGC -XX:AOTCacheOutput=xe.aot -cp xe-shim.jar io.xenferry.xe.client.Training
 * java -XX:+UseSerialGC -XX:AOTCache=xe.aot       -cp xe-shim.jar io.xenferry.xe.client.Xe ARGUMENTS
 * </pre>
 *
 * The class path, the JDK and the collector must be the same in both; otherwise the JVM passes over
 * the cache and starts as without one.
 */
public final class Training {
  private static final String PASSWORD = "training";

  private Training() {}

  public static void main(String[] args) throws IOException, GeneralSecurityException {
    try {
      ExactArguments.of(List.of(args), ExactArguments.COMMAND_LINE);
    } catch (ClientException e) {
      throw new IOException(e);
    }
    Path dir = Files.createTempDirectory("xe-training");
    try {
      overUnixSocket(dir.resolve("socket"));
      overTls(dir.resolve("keys.p12"));
    } finally {
      Files.deleteIfExists(dir.resolve("socket"));
      Files.deleteIfExists(dir.resolve("keys.p12"));
      Files.deleteIfExists(dir);
    }
  }

  private static void overUnixSocket(Path path) throws IOException {
    try (ServerSocketChannel listening = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
      listening.bind(UnixDomainSocketAddress.of(path));
      Thread.ofPlatform()
          .daemon()
          .start(() -> {
            try (SocketChannel client = listening.accept()) {
              serve(Channels.newInputStream(client), Channels.newOutputStream(client));
            } catch (IOException e) {
              System.err.println("training over the Unix socket: " + e);
            }
          });
      client(Map.of(Transport.SOCKET_VARIABLE, path.toString()), List.of("vm-list"));
    }
  }

  private static void overTls(Path keys) throws IOException, GeneralSecurityException {
    makeCertificate(keys);
    KeyManagerFactory factory = KeyManagerFactory.getInstance("PKIX");
    factory.init(
        KeyStore.getInstance(keys.toFile(), PASSWORD.toCharArray()), PASSWORD.toCharArray());
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(factory.getKeyManagers(), null, null);
    try (ServerSocket listening =
        context
            .getServerSocketFactory()
            .createServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      Thread.ofPlatform()
          .daemon()
          .start(() -> {
            try (Socket client = listening.accept()) {
              serve(client.getInputStream(), client.getOutputStream());
            } catch (IOException e) {
              System.err.println("training over TLS: " + e);
            }
          });
      client(
          Map.of(),
          List.of("vm-list", "-s", "localhost", "-p", Integer.toString(listening.getLocalPort())));
    }
  }

  private static void makeCertificate(Path keys) throws IOException {
    Process keytool =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "keytool").toString(),
                "-genkeypair",
                "-alias",
                "k",
                "-keyalg",
                "RSA",
                "-keysize",
                "2048",
                "-dname",
                "CN=localhost",
                "-validity",
                "2",
                "-storetype",
                "PKCS12",
                "-keystore",
                keys.toString(),
                "-storepass",
                PASSWORD)
            .redirectErrorStream(true)
            .redirectOutput(ProcessBuilder.Redirect.DISCARD)
            .start();
    try {
      if (!keytool.waitFor(60, TimeUnit.SECONDS) || keytool.exitValue() != 0) {
        throw new IOException("keytool made no certificate");
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted", e);
    } finally {
      keytool.destroy();
    }
  }

  private static void client(Map<String, String> environment, List<String> arguments)
      throws IOException {
    int status =
        new Xe(environment, InputStream.nullInputStream(), System.out, System.err).run(arguments);
    if (status != 0) {
      throw new IOException("the training run of xe ended with " + status);
    }
  }

  private static void serve(InputStream raw, OutputStream out) throws IOException {
    InputStream in = new BufferedInputStream(raw);
    // The request ends with the password; what it says does not matter here.
    byte[] end = "\npassword=null".getBytes(java.nio.charset.StandardCharsets.US_ASCII);
    for (int matched = 0; matched < end.length; ) {
      int b = in.read();
      if (b < 0) {
        throw new IOException("the request ended early");
      }
      matched = b == end[matched] ? matched + 1 : b == end[0] ? 1 : 0;
    }
    Greeting.OURS.write(out);
    out.flush();
    Greeting.read(in);
    MessageCodec.write(out, new Message.Print("trained"));
    MessageCodec.write(out, new Message.PrintStderr(""));
    MessageCodec.write(out, new Message.Exit(0));
    out.flush();
  }
}
