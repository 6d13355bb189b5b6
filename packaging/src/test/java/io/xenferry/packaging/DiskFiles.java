package io.xenferry.packaging;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.xenferry.guest.Verdict;
import io.xenferry.guest.Verifier;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.Stream;

/**
 * The disks of a laboratory's sites as the files that they are, looked at behind everybody's back.
 */
final class DiskFiles {
  static final String RAW = "raw";
  static final String QCOW2 = "qcow2";

  private static final ObjectMapper JSON = new ObjectMapper();

  private DiskFiles() {}

  /** The directory of a site's SR for a format. */
  static Path repository(Site site, String format) {
    return site.directory().resolve(format.equals(RAW) ? "sr" : format);
  }

  /** Everything that belongs to a disk: images, records, views and notes of changed blocks. */
  static List<Path> all(Site site) throws IOException {
    return files(site, ".*\\.(raw|qcow2|vdi|view|pid|cbt)");
  }

  /** What makes qcow2 images look like raw ones to a target. */
  static List<Path> views(Site site) throws IOException {
    return files(site, ".*\\.(view|pid)");
  }

  /** All qcow2 images of a site, whoever's they are. */
  static List<Path> layered(Site site) throws IOException {
    return files(site, ".*\\.qcow2");
  }

  private static List<Path> files(Site site, String pattern) throws IOException {
    List<Path> found = new ArrayList<>();
    for (String format : List.of(RAW, QCOW2)) {
      Path directory = repository(site, format);
      if (Files.isDirectory(directory)) {
        try (Stream<Path> files = Files.list(directory)) {
          files.filter(f -> f.toString().matches(pattern)).forEach(found::add);
        }
      }
    }
    return found;
  }

  /** The image of a VDI, the topmost one where there are several. */
  static Path image(Site site, String vdi) throws IOException {
    Path raw = repository(site, RAW).resolve(vdi + ".raw");
    if (Files.exists(raw)) {
      return raw;
    }
    Path directory = repository(site, QCOW2);
    Path tree = directory.resolve("images.meta");
    String image = vdi;
    if (Files.exists(tree)) {
      for (String line : Files.readAllLines(tree)) {
        if (line.startsWith("vdi." + vdi + "=")) {
          image = line.substring(line.indexOf('=') + 1);
        }
      }
    }
    return directory.resolve(image + ".qcow2");
  }

  private static boolean isRaw(Path image) {
    return image.toString().endsWith(".raw");
  }

  /** An image and all that it rests on, from the top; somebody may have them open. */
  static List<Path> chain(Path image) throws IOException, InterruptedException {
    if (isRaw(image)) {
      return List.of(image);
    }
    List<Path> chain = new ArrayList<>();
    String said =
        run("qemu-img", "info", "-U", "--backing-chain", "--output=json", image.toString());
    for (JsonNode link : JSON.readTree(said)) {
      chain.add(Path.of(link.path("filename").asText()));
    }
    return chain;
  }

  /** What the files take on their file system, in bytes. */
  static long allocated(List<Path> files) throws IOException, InterruptedException {
    long blocks = 0;
    for (Path file : files) {
      blocks += Long.parseLong(run("stat", "--format=%b", file.toString()).strip());
    }
    return blocks * 512;
  }

  /**
   * What a raw image would take if its file system gave it nothing smaller than clusters, in bytes;
   * somebody may have it open.
   */
  static long touched(Path raw, long cluster) throws IOException, InterruptedException {
    long bytes = 0;
    long end = 0;
    for (JsonNode extent :
        JSON.readTree(run("qemu-img", "map", "-U", "-f", RAW, "--output=json", raw.toString()))) {
      if (extent.path("data").asBoolean()) {
        long from = Math.max(end, extent.path("start").asLong() / cluster * cluster);
        long to = extent.path("start").asLong() + extent.path("length").asLong();
        end = Math.max(end, (to + cluster - 1) / cluster * cluster);
        bytes += Math.max(0, end - from);
      }
    }
    return bytes;
  }

  /** Does something with the disk's bytes, whatever the image's format; nobody may be writing. */
  private static <T> T withRaw(List<Path> images, Look<T> look)
      throws IOException, InterruptedException {
    List<Path> raw = new ArrayList<>();
    List<Path> copies = new ArrayList<>();
    try {
      for (Path image : images) {
        if (isRaw(image)) {
          raw.add(image);
        } else {
          Path copy = Files.createTempFile("xf", ".disk");
          copies.add(copy);
          raw.add(copy);
          run("qemu-img", "convert", "-U", "-O", "raw", image.toString(), copy.toString());
        }
      }
      return look.at(raw);
    } finally {
      for (Path copy : copies) {
        Files.deleteIfExists(copy);
      }
    }
  }

  private interface Look<T> {
    T at(List<Path> files) throws IOException;
  }

  /** Compares what was acknowledged with what the disks hold. */
  static Verdict verify(Path ledger, List<Path> images) throws IOException, InterruptedException {
    return withRaw(images, files -> Verifier.verify(ledger, files));
  }

  /** SHA-256 of what the disk holds. */
  static String digest(Path image) throws IOException, InterruptedException {
    return withRaw(
        List.of(image),
        files -> {
          try {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            return HexFormat.of().formatHex(digest.digest(Files.readAllBytes(files.getFirst())));
          } catch (java.security.NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
          }
        });
  }

  /** The blocks in which two disks of one size differ, that nobody writes. */
  static BitSet differing(Path one, Path other, int blockSize)
      throws IOException, InterruptedException {
    return withRaw(
        List.of(one, other),
        files -> {
          byte[] first = Files.readAllBytes(files.getFirst());
          byte[] second = Files.readAllBytes(files.getLast());
          assertThat(second).hasSameSizeAs(first);
          BitSet blocks = new BitSet();
          for (int at = 0; at < first.length; at += blockSize) {
            int end = Math.min(first.length, at + blockSize);
            blocks.set(at / blockSize, !Arrays.equals(first, at, end, second, at, end));
          }
          return blocks;
        });
  }

  private static String run(String... command) throws IOException, InterruptedException {
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor()).as(String.join(" ", command) + ": " + out).isZero();
    return out;
  }
}
