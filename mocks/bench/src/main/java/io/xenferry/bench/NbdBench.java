package io.xenferry.bench;

import io.xenferry.bench.TestLun.Timed;
import io.xenferry.bench.command.Commands;
import io.xenferry.bench.command.Tools;
import io.xenferry.bench.measure.Disks;
import io.xenferry.bench.measure.Medians;
import io.xenferry.bench.measure.Rounds;
import io.xenferry.bench.measure.Workspace;
import io.xenferry.block.FileBackend;
import io.xenferry.copy.CopyEngine;
import io.xenferry.copy.CopyOptions;
import io.xenferry.nbd.NbdClient;
import io.xenferry.nbd.NbdExport;
import io.xenferry.nbd.NbdExportServer;
import io.xenferry.nbd.SslUpgrade;
import io.xenferry.nbd.TlsUpgrade;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/**
 * Copies a file to an NBD server, over TCP and over TLS: the engine with our client, and {@code
 * nbdcopy}, each to {@code nbdkit} and to our export.
 *
 * <p>The server's file is overwritten before each copy; each time ends with a flush; contents are
 * compared afterwards. Our client and our export run in this process, as in a server; the others'
 * are processes of their own, {@code nbdcopy} one for each copy, as always.
 */
@Command(
    name = "nbd",
    description = "Copies a file over NBD: our client and export against nbdcopy and nbdkit.",
    version = "XenFerry ${sys:xenferry.version:-of an unknown version}",
    mixinStandardHelpOptions = true)
final class NbdBench implements Callable<Integer> {
  private static final int CANNOT_RUN = 3;
  private static final Duration DEADLINE = Duration.ofMinutes(10);
  private static final String DISK = "disk";

  @Mixin private final Rounds rounds = new Rounds(5, 2);
  @Mixin private final Workspace workspace = new Workspace(1L << 30);

  @Option(
      names = "--connections",
      description = "Connections of each client (default: ${DEFAULT-VALUE}).",
      defaultValue = "4")
  private int connections = 4;

  @Override
  public Integer call() throws Exception {
    List<String> missing =
        Stream.of("nbdcopy", "nbdkit").filter(tool -> !Tools.installed(tool)).toList();
    if (!missing.isEmpty() || !rounds.any() || workspace.size() % 512 != 0 || connections < 1) {
      System.err.println(
          missing.isEmpty()
              ? "at least one round and one connection, and a size in sectors of 512 bytes"
              : "cannot run without "
                  + String.join(" and ", missing)
                  + " (Debian: apt-get install libnbd-bin nbdkit)");
      return CANNOT_RUN;
    }
    Path base = workspace.create();
    try {
      Path source = Disks.random(base.resolve("random"), workspace.size());
      NbdCertificate certificate = NbdCertificate.make(base);
      measure("tcp", base, source, Optional.empty());
      measure("tls", base, source, Optional.of(certificate));
      return 0;
    } catch (IOException e) {
      System.err.println(e.getMessage());
      return 1;
    } finally {
      Disks.deleteTree(base);
    }
  }

  private void measure(String over, Path base, Path source, Optional<NbdCertificate> certificate)
      throws Exception {
    Path there = base.resolve("there-" + over);
    FileBackend.create(there, workspace.size()).close();
    Optional<TlsUpgrade> tls =
        certificate.isEmpty()
            ? Optional.empty()
            : Optional.of(SslUpgrade.server(certificate.get().context()));
    try (Nbdkit nbdkit = Nbdkit.serve(there, certificate);
        FileBackend backend = FileBackend.open(there, FileBackend.Mode.READ_WRITE_SHARED);
        NbdExportServer export =
            NbdExportServer.listen(
                new InetSocketAddress(InetAddress.getLoopbackAddress(), 0),
                NbdExportServer.Limits.DEFAULT,
                tls)) {
      export.add(DISK, NbdExport.of(backend));
      int port = ((InetSocketAddress) export.address()).getPort();
      List<Rounds.Kind<Double>> kinds =
          List.of(
              () -> engine(source, there, nbdkit.port(), certificate),
              () -> nbdcopy(source, there, nbdkit.port(), certificate),
              () -> engine(source, there, port, certificate),
              () -> nbdcopy(source, there, port, certificate));
      List<List<Double>> seconds = rounds.measure(kinds, (round, all) -> tell(over, round, all));
      tell(over, "median", seconds.stream().map(Medians::of).toList());
      Medians.ratio(over + " client", seconds.get(1), seconds.get(0));
      Medians.ratio(over + " export", seconds.get(1), seconds.get(3));
      Medians.ratio(over + " both", seconds.get(1), seconds.get(2));
    }
  }

  private void tell(String over, String round, List<Double> seconds) {
    System.out.printf(
        Locale.ROOT,
        "%s %s: to nbdkit engine %.2f s, nbdcopy %.2f s; to our export engine %.2f s,"
            + " nbdcopy %.2f s%n",
        over,
        round,
        seconds.get(0),
        seconds.get(1),
        seconds.get(2),
        seconds.get(3));
  }

  private double engine(Path source, Path there, int port, Optional<NbdCertificate> certificate)
      throws Exception {
    prepare(source, there);
    EngineCopy engine =
        new EngineCopy(CopyOptions.DEFAULT.depth(), CopyEngine.DEFAULT_REQUEST_SIZE, 1);
    NbdClient.Options options =
        certificate.isEmpty()
            ? NbdClient.Options.DEFAULT
            : NbdClient.Options.DEFAULT.withTls(SslUpgrade.client(certificate.get().context()));
    Timed timed =
        engine.copy(
            source,
            there,
            () ->
                new NbdOpener(
                    new InetSocketAddress(InetAddress.getLoopbackAddress(), port),
                    DISK,
                    options,
                    connections));
    check(source, there, "the engine");
    return timed.seconds();
  }

  private double nbdcopy(Path source, Path there, int port, Optional<NbdCertificate> certificate)
      throws Exception {
    prepare(source, there);
    String uri =
        certificate.isEmpty()
            ? "nbd://127.0.0.1:" + port + "/" + DISK
            : "nbds://127.0.0.1:"
                + port
                + "/"
                + DISK
                + "?tls-certificates="
                + certificate.get().directory();
    long began = System.nanoTime();
    Commands.run(
        List.of(
            "nbdcopy",
            "--connections=" + connections,
            "--threads=" + connections, // it has no more connections than threads
            "--flush",
            source.toString(),
            uri),
        DEADLINE);
    double seconds = (System.nanoTime() - began) / 1e9;
    check(source, there, "nbdcopy");
    return seconds;
  }

  private void prepare(Path source, Path there) throws IOException {
    Disks.fill(there, workspace.size());
    Disks.readOnce(source);
  }

  private static void check(Path source, Path there, String who) throws IOException {
    long differs = Files.mismatch(source, there);
    if (differs >= 0) {
      throw new IOException("the copy by " + who + " is wrong at byte " + differs);
    }
  }
}
