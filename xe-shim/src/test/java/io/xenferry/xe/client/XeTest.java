package io.xenferry.xe.client;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.xe.protocol.Greeting;
import io.xenferry.xe.protocol.Message;
import io.xenferry.xe.protocol.MessageCodec;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLServerSocket;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The client against servers that follow a script. */
@Timeout(value = 60, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class XeTest {
  /** What a server does after it has read the request. */
  interface Script {
    void play(InputStream in, OutputStream out) throws IOException;
  }

  @TempDir Path dir;

  private ServerSocket server;
  private final CompletableFuture<byte[]> request = new CompletableFuture<>();
  private final ByteArrayOutputStream stdout = new ByteArrayOutputStream();
  private final ByteArrayOutputStream stderr = new ByteArrayOutputStream();
  private final Map<String, String> environment = new HashMap<>();
  private String stdin = "";

  @BeforeEach
  void listen() throws IOException {
    server = new ServerSocket(0, 16, InetAddress.getLoopbackAddress());
    environment.put("HOME", dir.toString());
  }

  @AfterEach
  void close() throws IOException {
    server.close();
  }

  private void serve(Script script) {
    ServerSocket listening = server;
    Thread.ofVirtual()
        .start(() -> {
          try (Socket socket = listening.accept()) {
            InputStream in = socket.getInputStream();
            request.complete(readRequest(in));
            script.play(in, socket.getOutputStream());
          } catch (IOException e) {
            request.completeExceptionally(e);
          }
        });
  }

  private static byte[] readRequest(InputStream in) throws IOException {
    ByteArrayOutputStream head = new ByteArrayOutputStream();
    while (!head.toString(StandardCharsets.ISO_8859_1).endsWith("\r\n\r\n")) {
      int b = in.read();
      if (b < 0) {
        throw new IOException("the request ends early");
      }
      head.write(b);
    }
    String text = head.toString(StandardCharsets.ISO_8859_1);
    int at = text.indexOf("content-length: ") + 16;
    head.writeBytes(in.readNBytes(Integer.parseInt(text.substring(at, text.indexOf("\r\n", at)))));
    return head.toByteArray();
  }

  private static void greet(InputStream in, OutputStream out) throws IOException {
    Greeting.OURS.write(out);
    assertThat(Greeting.read(in)).isEqualTo(Greeting.OURS);
  }

  private int xe(String... words) throws IOException {
    List<String> args = new ArrayList<>(List.of(words));
    args.addAll(List.of("-p", "" + server.getLocalPort()));
    return new Xe(
            environment,
            new ByteArrayInputStream(stdin.getBytes(StandardCharsets.UTF_8)),
            stdout,
            stderr)
        .run(args);
  }

  private int plain(String... words) throws IOException {
    List<String> args = new ArrayList<>(List.of(words));
    args.addAll(List.of("--nossl", "-s", "localhost"));
    return xe(args.toArray(String[]::new));
  }

  @Test
  void aConsoleWithoutATerminalIsRefusedBeforeTheServerIsAsked() throws IOException {
    serve((in, out) -> {
      greet(in, out);
      MessageCodec.write(out, new Message.Print("Connecting"));
      MessageCodec.write(out, new Message.Exit(0));
    });
    assertThat(xe("console", "vm=web")).isEqualTo(1);
    assertThat(stderr.toString(StandardCharsets.UTF_8)).isEqualTo("A console needs a terminal.\n");
    assertThat(stdout.size()).isZero();
    assertThat(request).isNotDone();
  }

  @Test
  void theRequestIsTheCapturedOne() throws Exception {
    serve((in, out) -> {
      greet(in, out);
      MessageCodec.write(out, new Message.Print("hello world"));
      MessageCodec.write(out, new Message.PrintStderr("to stderr\n"));
      MessageCodec.write(out, new Message.Debug("dropped"));
      MessageCodec.write(out, new Message.ShowError("HOST_OFFLINE", List.of("OpaqueRef:1", "p2")));
      MessageCodec.write(out, new Message.Exit(7));
    });
    assertThat(plain("print", "-u", "root", "-pw", "secret", "foo=bar")).isEqualTo(7);
    assertThat(new String(request.get(), StandardCharsets.UTF_8))
        .isEqualTo(
            "POST /cli HTTP/1.0\r\nUser-agent: xe-cli/Unix/0.2\r\noriginator: cli\r\n"
                + "content-length: 43\r\n\r\nprint\nfoo=bar\nusername=root\npassword=secret");
    assertThat(stdout.toString(StandardCharsets.UTF_8)).isEqualTo("hello world\n");
    assertThat(stderr.toString(StandardCharsets.UTF_8))
        .isEqualTo("to stderr\nError code: HOST_OFFLINE\nError parameters: OpaqueRef:1, p2\n");
  }

  @Test
  void answersAPromptWithALineAndALoadWithAFile() throws Exception {
    Path file = Files.writeString(dir.resolve("up.txt"), "file-content");
    stdin = "yes\nmore";
    CompletableFuture<String> seen = new CompletableFuture<>();
    serve((in, out) -> {
      greet(in, out);
      MessageCodec.write(out, new Message.Prompt());
      byte[] prompt = in.readNBytes(16 + 3 + 12);
      MessageCodec.write(out, new Message.Load(file.toString()));
      byte[] load = in.readNBytes(12 + 16 + 12 + 12);
      MessageCodec.write(out, new Message.Load(file + ".missing"));
      byte[] missing = in.readNBytes(12);
      seen.complete(
          String.join(
              " ",
              HexFormat.of().formatHex(prompt),
              HexFormat.of().formatHex(load),
              HexFormat.of().formatHex(missing)));
      MessageCodec.write(out, new Message.Exit(0));
    });
    assertThat(plain("x", "f=" + file, "g=" + file + ".missing")).isZero();
    assertThat(seen.get(5, TimeUnit.SECONDS))
        .isEqualTo(
            "0c0000000b0000000700000003000000796573080000000b00000008000000"
                + " 080000000a000000050000000c0000000b000000070000000c00000066696c652d636f6e74656e74"
                + "080000000b00000008000000"
                + " 080000000a00000006000000");
  }

  @Test
  void touchesNoFileThatTheUserDidNotName() throws Exception {
    Path secret = Files.writeString(dir.resolve("secret"), "s");
    serve((in, out) -> {
      greet(in, out);
      MessageCodec.write(out, new Message.Load(secret.toString()));
      in.transferTo(OutputStream.nullOutputStream());
    });
    assertThat(plain("x", "f=" + dir.resolve("other"))).isEqualTo(1);
    assertThat(stderr.toString(StandardCharsets.UTF_8)).startsWith("File not permitted: ");
  }

  @Test
  void fetchesAFileThatOnlyItsOwnerReadsAndNeverOverwritesOne() throws Exception {
    Path file = dir.resolve("down");
    CompletableFuture<String> get = new CompletableFuture<>();
    ServerSocket listening = server;
    Script script =
        (in, out) -> {
          greet(in, out);
          MessageCodec.write(out, new Message.HttpGet(file.toString(), "/export?x=%20"));
          try (Socket side = listening.accept()) {
            byte[] head = side.getInputStream().readNBytes(30);
            get.complete(new String(head, StandardCharsets.UTF_8));
            side.getOutputStream()
                .write("HTTP/1.1 200 OK\r\nx: y\r\n\r\ncontent".getBytes(StandardCharsets.UTF_8));
          }
          assertThat(MessageCodec.read(in, 100)).isEqualTo(new Message.Ok());
          MessageCodec.write(out, new Message.HttpGet(file.toString(), "/export"));
          assertThat(MessageCodec.read(in, 100)).isEqualTo(new Message.Failed());
        };
    serve(script);
    assertThat(plain("x", "filename=" + file)).isEqualTo(1);
    assertThat(get.get(5, TimeUnit.SECONDS)).startsWith("GET /export?x=%20 HTTP/1.0\r\n");
    assertThat(file).hasContent("content");
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(file)))
        .isEqualTo("rw-------");
    assertThat(stderr.toString(StandardCharsets.UTF_8)).startsWith("Operation failed. Error: ");
  }

  @Test
  void sendsAFileAfterTheServerAgreed() throws Exception {
    Path file = Files.writeString(dir.resolve("up"), "0123456789");
    CompletableFuture<String> put = new CompletableFuture<>();
    ServerSocket listening = server;
    serve((in, out) -> {
      greet(in, out);
      MessageCodec.write(out, new Message.HttpPut(file.toString(), "/import"));
      try (Socket side = listening.accept()) {
        byte[] head = side.getInputStream().readNBytes(44);
        side.getOutputStream().write("HTTP/1.1 200 OK\r\n\r\n".getBytes(StandardCharsets.UTF_8));
        put.complete(
            new String(head, StandardCharsets.UTF_8)
                + new String(side.getInputStream().readNBytes(100), StandardCharsets.UTF_8));
      }
      assertThat(MessageCodec.read(in, 100)).isEqualTo(new Message.Ok());
      MessageCodec.write(out, new Message.Exit(0));
    });
    assertThat(plain("x", "filename=" + file)).isZero();
    assertThat(put.get(5, TimeUnit.SECONDS))
        .isEqualTo("PUT /import HTTP/1.0\r\nContent-length: 10\r\n\r\n0123456789");
  }

  @Test
  void tellsAnHttpAnswerFromJunkAndFromSilence() throws Exception {
    serve((in, out) -> out.write("http/1.1 500 Oops\r\n\r\n".getBytes(StandardCharsets.UTF_8)));
    assertThat(plain("x")).isEqualTo(1);
    assertThat(stderr.toString(StandardCharsets.UTF_8)).isEqualTo("Server internal error.\n");
    stderr.reset();
    serve((in, out) -> out.write("220 mail server".getBytes(StandardCharsets.UTF_8)));
    assertThat(plain("x")).isEqualTo(1);
    assertThat(stderr.toString(StandardCharsets.UTF_8))
        .startsWith("Failed to contact a running management agent.\nUsage:");
    stderr.reset();
    serve((in, out) -> {});
    assertThat(plain("x")).isEqualTo(1);
    assertThat(stderr.toString(StandardCharsets.UTF_8)).startsWith("Unable to contact server.");
    stderr.reset();
    serve(XeTest::greet);
    assertThat(plain("x")).isEqualTo(1);
    assertThat(stderr.toString(StandardCharsets.UTF_8))
        .isEqualTo("Lost connection to the server.\n");
    stderr.reset();
    serve((in, out) -> new Greeting(1, 0).write(out));
    assertThat(plain("x")).isEqualTo(1);
    assertThat(stderr.toString(StandardCharsets.UTF_8)).contains("1.0");
  }

  @Test
  void aTraceIsShownOnlyWhenTheCommandFails() throws Exception {
    for (int status : new int[] {0, 1}) {
      stderr.reset();
      serve((in, out) -> {
        greet(in, out);
        MessageCodec.write(out, new Message.Debug("dbg text"));
        MessageCodec.write(out, new Message.Exit(status));
      });
      assertThat(plain("x", "--debug-on-fail")).isEqualTo(status);
      assertThat(stderr.toString(StandardCharsets.UTF_8).contains("dbg text"))
          .isEqualTo(status != 0);
    }
  }

  @Test
  void speaksTlsWithP384AndHoldsToAPin() throws Exception {
    server.close();
    Path store = dir.resolve("keys.p12");
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
                "CN=test",
                "-validity",
                "2",
                "-storetype",
                "PKCS12",
                "-keystore",
                store.toString(),
                "-storepass",
                "secret")
            .redirectErrorStream(true)
            .start();
    assertThat(keytool.waitFor(60, TimeUnit.SECONDS)).isTrue();
    KeyStore keys = KeyStore.getInstance(store.toFile(), "secret".toCharArray());
    KeyManagerFactory factory = KeyManagerFactory.getInstance("PKIX");
    factory.init(keys, "secret".toCharArray());
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(factory.getKeyManagers(), null, null);
    SSLServerSocket tls =
        (SSLServerSocket)
            context
                .getServerSocketFactory()
                .createServerSocket(0, 16, InetAddress.getLoopbackAddress());
    SSLParameters parameters = tls.getSSLParameters();
    parameters.setNamedGroups(new String[] {"secp384r1"});
    parameters.setProtocols(new String[] {"TLSv1.2"});
    tls.setSSLParameters(parameters);
    server = tls;
    Script script =
        (in, out) -> {
          greet(in, out);
          MessageCodec.write(out, new Message.Exit(0));
        };
    serve(script);
    assertThat(xe("x", "-s", "localhost")).isZero();

    String fingerprint =
        HexFormat.of()
            .formatHex(
                MessageDigest.getInstance("SHA-256").digest(keys.getCertificate("k").getEncoded()));
    Path pins = dir.resolve("pins");
    environment.put("XENFERRY_PINS", pins.toString());
    Files.writeString(pins, "localhost:" + server.getLocalPort() + " " + fingerprint + "\n");
    serve(script);
    assertThat(xe("x", "-s", "localhost")).isZero();
    Files.writeString(pins, "localhost:" + server.getLocalPort() + " " + "0".repeat(64) + "\n");
    serve(script);
    assertThat(xe("x", "-s", "localhost")).isEqualTo(1);
  }

  @Test
  void optionsComeFromTheLineThenTheEnvironmentThenTheFile() throws Exception {
    Files.writeString(
        dir.resolve(".xe"), "username=file\npassword=pf\n\nserver=a\nport=1\nunknown=u\n");
    environment.put("XE_EXTRA_ARGS", "username=extra,password=p\\,w,--minimal");
    Options options = Options.read(List.of("-s", "b", "vm-list", "--nossl", "uuid=1"), environment);
    assertThat(options.server()).contains("b");
    assertThat(options.port()).contains(1);
    assertThat(options.user()).isEqualTo("extra");
    assertThat(options.password()).isEqualTo("p,w");
    assertThat(options.ssl()).isFalse();
    assertThat(options.arguments()).containsExactly("vm-list", "uuid=1", "--minimal", "unknown=u");
  }

  /** What the client answers by itself; the listening server would keep it waiting for ever. */
  @Test
  void usageAndVersionAskNoServer() throws Exception {
    for (String word : List.of("-help", "--help")) {
      stderr.reset();
      assertThat(plain("vm-list", word)).isZero();
      assertThat(plain(word)).isZero();
      assertThat(err()).startsWith("Usage: xe");
    }
    stderr.reset();
    assertThat(xe()).isZero();
    assertThat(err()).startsWith("A command is missing.\nUsage: xe");
    for (String word : List.of("-version", "--version")) {
      stdout.reset();
      assertThat(plain("vm-list", word)).isZero();
      assertThat(stdout.toString(StandardCharsets.UTF_8)).isEqualTo("ThinCLI protocol: 0.2\n");
    }
  }

  /** As published clients have it; 0 so that whoever looks for help does not fail. */
  @ParameterizedTest
  @ValueSource(strings = {"-p abc", "-p 99999", "-p -1", "port=65536"})
  void aPortThatIsNoneShowsTheUsage(String line) throws Exception {
    List<String> words = new ArrayList<>(List.of("vm-list"));
    words.addAll(List.of(line.split(" ")));
    assertThat(new Xe(environment, InputStream.nullInputStream(), stdout, stderr).run(words))
        .isZero();
    assertThat(err()).contains("Not a port: ", "Usage: xe");
  }

  @ParameterizedTest
  @ValueSource(strings = {"x -p", "x -s", "x -pwf"})
  void anOptionWithoutItsValueIsAFailure(String line) throws Exception {
    List<String> words = new ArrayList<>(List.of("vm-list"));
    words.addAll(List.of(line.split(" ")));
    assertThat(new Xe(environment, InputStream.nullInputStream(), stdout, stderr).run(words))
        .isEqualTo(1);
    assertThat(err()).contains("needs a value.", "Usage: xe");
  }

  /** Each option in each of its spellings, before and after the command. */
  @Test
  void everyOptionHasAShortFormAndAKeyword() throws Exception {
    Path passwords = Files.writeString(dir.resolve("pw"), "carol\nse cret\nrest\n");
    for (List<String> line :
        List.of(
            List.of(
                "-s",
                "[::1]",
                "-p",
                "7",
                "-u",
                "carol",
                "-pw",
                "se cret",
                "--nossl",
                "--debug",
                "--debug-on-fail",
                "--traceparent",
                "00-t",
                "vm-list"),
            List.of(
                "vm-list",
                "-h",
                "[::1]",
                "-pwf",
                passwords.toString(),
                "-p",
                "7",
                "nossl=true",
                "debug=true",
                "debugonfail=true",
                "traceparent=00-t"),
            List.of(
                "server=[::1]",
                "port=7",
                "vm-list",
                "passwordfile=" + passwords,
                "nossl=yes",
                "debug=1",
                "debugonfail=t",
                "traceparent=00-t"))) {
      assertThat(Options.read(line, environment))
          .as("%s", line)
          .isEqualTo(
              new Options(
                  Optional.of("[::1]"),
                  Optional.of(7),
                  "carol",
                  "se cret",
                  false,
                  true,
                  true,
                  Optional.of("00-t"),
                  Optional.empty(),
                  List.of("vm-list"),
                  Optional.empty()));
    }
    Options bare = Options.read(List.of("vm-list", "--minimal", "a=b=c", "-x"), environment);
    assertThat(bare)
        .isEqualTo(
            new Options(
                Optional.empty(),
                Optional.empty(),
                "root",
                "null",
                true,
                false,
                false,
                Optional.empty(),
                Optional.empty(),
                List.of("vm-list", "--minimal", "a=b=c", "-x"),
                Optional.empty()));
  }

  @Test
  void aPasswordFileThatIsNoneIsAFailure() throws Exception {
    assertThat(plain("x", "-pwf", dir.resolve("missing").toString())).isEqualTo(1);
    assertThat(plain("x", "-pwf", Files.writeString(dir.resolve("short"), "root\n").toString()))
        .isEqualTo(1);
    assertThat(err()).contains("cannot be read", "a line each");
  }

  /** As cron and systemd start it. */
  @Test
  void argumentsAreSentAsTheyAreWhateverTheLocale() throws Exception {
    serve((in, out) -> {
      greet(in, out);
      MessageCodec.write(out, new Message.Exit(0));
    });
    assertThat(underC("\\303\\251\\342\\202\\254\\360\\237\\230\\200")).isEmpty();
    assertThat(new String(request.get(), StandardCharsets.UTF_8))
        .endsWith("\nname-description=é€😀\nusername=root\npassword=null");
    assertThat(underC("\\351")).isEqualTo("Argument 3 is not UTF-8.\n");
  }

  private String underC(String escaped) throws Exception {
    ProcessBuilder builder =
        new ProcessBuilder(
            "sh",
            "-c",
            // Words in ASCII, since this JVM may have such a locale itself.
            "exec \"$0\" -cp \"$1\" io.xenferry.xe.client.Xe vm-param-set uuid=u"
                + " \"name-description=$(printf '"
                + escaped
                + "')\" -s 127.0.0.1 --nossl -p "
                + server.getLocalPort(),
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            System.getProperty("java.class.path"));
    builder.environment().put("LC_ALL", "C");
    builder.environment().put("HOME", dir.toString());
    Process xe = builder.redirectError(dir.resolve("err").toFile()).start();
    xe.getOutputStream().close();
    assertThat(xe.waitFor(50, TimeUnit.SECONDS)).isTrue();
    String complaint = Files.readString(dir.resolve("err"));
    assertThat(xe.exitValue()).as(complaint).isEqualTo(complaint.isEmpty() ? 0 : 1);
    return complaint;
  }

  @Test
  void withoutTheKernelsWordsWhatWasLostIsRefused() throws Exception {
    Path none = dir.resolve("none");
    assertThat(ExactArguments.of(List.of("a", "é", ""), none)).containsExactly("a", "é", "");
    assertThatThrownBy(() -> ExactArguments.of(List.of("a", "b\uFFFD"), none))
        .hasMessage("Argument 2 is not UTF-8.");
    Path other = Files.writeString(dir.resolve("other"), "java\0x\0é\0");
    assertThat(ExactArguments.of(List.of("??", ""), other))
        .as("the words of something else")
        .containsExactly("??", "");
    environment.put("XE_EXTRA_ARGS", "a=\uFFFD");
    assertThat(plain("x")).isEqualTo(1);
    assertThat(err()).startsWith("XE_EXTRA_ARGS is not UTF-8");
  }

  @Test
  void aFileOfSettingsWithAWrongLineIsLeftOutWithAWarning() throws Exception {
    Files.writeString(dir.resolve(".xe"), "username=file\nno equals sign\n");
    serve((in, out) -> {
      greet(in, out);
      MessageCodec.write(out, new Message.Exit(0));
    });
    assertThat(plain("x")).isZero();
    assertThat(new String(request.get(), StandardCharsets.UTF_8))
        .endsWith("x\nusername=root\npassword=null");
    assertThat(err())
        .isEqualTo("Warning: " + dir.resolve(".xe") + " has a line without '=' and is ignored\n");
  }

  @Test
  void tracesOfTheCallerTravelInHeaders() throws Exception {
    environment.put("TRACEPARENT", "00-env");
    environment.put("BAGGAGE", "k=v");
    serve((in, out) -> {
      greet(in, out);
      MessageCodec.write(out, new Message.Exit(0));
    });
    assertThat(plain("x")).isZero();
    assertThat(new String(request.get(), StandardCharsets.UTF_8))
        .contains("traceparent: 00-env\r\nbaggage: k=v\r\ncontent-length: ");
  }

  private String err() {
    return stderr.toString(StandardCharsets.UTF_8);
  }
}
