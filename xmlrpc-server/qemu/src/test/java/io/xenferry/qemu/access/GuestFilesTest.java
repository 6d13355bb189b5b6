package io.xenferry.qemu.access;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.xenferry.spi.HypervisorException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Entries in access control lists, and the notes of them; none of it needs root. */
class GuestFilesTest {
  private static final GuestUser USER = new GuestUser(1_900_000_007, 1_900_000_000);

  @TempDir Path directory;
  private Path guest;
  private Path image;

  @BeforeEach
  void make() throws IOException {
    guest = Files.createDirectories(directory.resolve("guests").resolve("one"));
    image = file("image.raw", "");
  }

  private Path file(String name, String content) throws IOException {
    Path file = Files.writeString(directory.resolve(name), content);
    Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rw-------"));
    return file;
  }

  private static String mode(Path file) throws IOException {
    return PosixFilePermissions.toString(Files.getPosixFilePermissions(file));
  }

  private GuestFiles begin() throws HypervisorException {
    return GuestFiles.begin(guest, guest, Optional.of(USER));
  }

  /** The head of a qcow2 image. */
  private Path qcow(String name, String base, String format) throws IOException {
    ByteBuffer head = ByteBuffer.allocate(4096);
    head.putInt(0, 0x514649fb).putInt(4, 3).putInt(100, 104);
    byte[] word = format.getBytes(StandardCharsets.UTF_8);
    if (!format.isEmpty()) {
      head.putInt(104, 0xe2792aca).putInt(108, word.length).put(112, word);
    }
    byte[] text = base.getBytes(StandardCharsets.UTF_8);
    head.putLong(8, 1024).putInt(16, text.length).put(1024, text);
    Path file = file(name, "");
    return Files.write(file, head.array());
  }

  @Test
  void whatIsAllowedIsNotedAndTakenBack() throws Exception {
    GuestFiles files = begin();
    files.allowImage(image, "raw", true);
    // The group's part of the mode is the mask of the list now.
    assertThat(mode(image)).isEqualTo("rw-rw----");
    assertThat(guest.resolve("granted"))
        .hasContent("user 1900000007 1900000000\n6 " + image + "\n");
    GuestFiles later = GuestFiles.found(guest);
    assertThat(later.user()).contains(USER);
    later.takeBackAll();
    assertThat(mode(image)).isEqualTo("rw-------");
    assertThat(guest.resolve("granted")).hasContent("user 1900000007 1900000000\n");
  }

  @Test
  void anotherGuestOfTheSameUserKeepsWhatBothHave() throws Exception {
    begin().allowImage(image, "raw", false);
    Path second = Files.createDirectories(directory.resolve("guests").resolve("two"));
    GuestFiles other = GuestFiles.begin(second, second, Optional.of(USER));
    other.allowImage(image, "raw", false);
    other.takeBackAll();
    assertThat(mode(image)).isEqualTo("rw-r-----");
    GuestFiles.found(guest).takeBackAll();
    assertThat(mode(image)).isEqualTo("rw-------");
  }

  @Test
  void aGuestOfTheServersUserHasNoNotes() throws Exception {
    GuestFiles files = GuestFiles.begin(guest, guest, Optional.empty());
    files.allowImage(image, "raw", true);
    files.restore(guest);
    files.takeBackAll();
    assertThat(mode(image)).isEqualTo("rw-------");
    assertThat(guest).isEmptyDirectory();
  }

  @Test
  void basesAreReadOnlyAndStayWhileAnotherDiskNeedsThem() throws Exception {
    Path base = file("base.raw", "QFI\u00fb looks like an image and names /etc/shadow");
    Path one = qcow("one.qcow2", base.toString(), "raw");
    Path two = qcow("two.qcow2", "base.raw", "raw");
    GuestFiles files = begin();
    files.allowImage(one, "qcow2", true);
    files.allowImage(two, "qcow2", true);
    assertThat(mode(base)).isEqualTo("rw-r-----");
    files.takeBack(one, "qcow2", Map.of(two, "qcow2"));
    assertThat(mode(one)).isEqualTo("rw-------");
    assertThat(mode(base)).isEqualTo("rw-r-----");
    files.takeBack(two, "qcow2", Map.of());
    assertThat(mode(base)).isEqualTo("rw-------");
  }

  @Test
  void aMergeWritesTheLowerImageAndTheOneAboveBothUntilItEnds() throws Exception {
    Path base = file("base.raw", "");
    Path middle = qcow("middle.qcow2", "base.raw", "raw");
    Path over = qcow("over.qcow2", "middle.qcow2", "qcow2");
    Path top = qcow("top.qcow2", "over.qcow2", "qcow2");
    GuestFiles files = begin();
    files.allowImage(image, "raw", true);
    files.allowImage(top, "qcow2", true);
    assertThatThrownBy(() -> files.allowMerge(top, image, base))
        .isInstanceOf(HypervisorException.class)
        .hasMessageContaining("does not rest on");
    assertThat(notes()).contains("4 " + base);
    files.allowMerge(top, middle, base);
    assertThat(notes()).contains("6 " + top, "6 " + over, "4 " + middle, "6 " + base, "6 " + image);
    assertThat(mode(base)).isEqualTo("rw-rw----");
    GuestFiles later = GuestFiles.found(guest);
    qcow("over.qcow2", "base.raw", "raw");
    Files.delete(middle);
    later.settleImages(Map.of(top, "qcow2", image, "raw"));
    assertThat(notes()).contains("6 " + top, "4 " + over, "4 " + base, "6 " + image);
    assertThat(notes()).noneMatch(line -> line.endsWith(middle.toString()));
  }

  private List<String> notes() throws IOException {
    return Files.readAllLines(guest.resolve("granted"));
  }

  @Test
  void onlyBasesBesideTheImageAreGiven() throws Exception {
    Path secret = Files.createDirectory(directory.resolve("else")).resolve("secret");
    Files.writeString(secret, "");
    for (String base :
        List.of(secret.toString(), "else/secret", "../x", "none", "json:{\"driver\":\"raw\"}")) {
      Path evil = qcow("evil.qcow2", base, "raw");
      assertThatThrownBy(() -> begin().allowImage(evil, "qcow2", true))
          .as(base)
          .isInstanceOf(HypervisorException.class)
          .hasMessageContaining("not beside it");
    }
    Path link = Files.createSymbolicLink(directory.resolve("link.raw"), secret);
    Path evil = qcow("evil.qcow2", link.toString(), "raw");
    assertThatThrownBy(() -> begin().allowImage(evil, "qcow2", true))
        .hasMessageContaining("not beside it");
    Path loop = qcow("loop.qcow2", "loop.qcow2", "qcow2");
    assertThatThrownBy(() -> begin().allowImage(loop, "qcow2", true))
        .hasMessageContaining("too many");
    // A name without a format says nothing of what is below that.
    Path plain = qcow("plain.qcow2", secret.toString(), "raw");
    Path deep = qcow("deep.qcow2", "plain.qcow2", "");
    GuestFiles files = begin();
    files.allowImage(deep, "qcow2", true);
    assertThat(mode(plain)).isEqualTo("rw-r-----");
  }

  @Test
  void usersFollowFromTheDirectory() throws Exception {
    GuestUsers range = new GuestUsers.Range(100_000, 200_000);
    GuestUser one = range.of(Path.of("/a/one")).orElseThrow();
    assertThat(range.of(Path.of("/a/one"))).contains(one);
    assertThat(range.of(Path.of("/a/two")).orElseThrow().uid()).isNotEqualTo(one.uid());
    assertThat(one.uid()).isBetween(100_001, 200_000);
    assertThat(one.gid()).isEqualTo(100_000);
    assertThat(GuestUsers.parse("server").of(guest)).isEmpty();
  }

  @Test
  void wordsThatNameNobodyAreRefused() {
    for (String words :
        List.of("", "0-5", "9-9", "5-4", "1-2147483648", "no such user", "-u", "root", "0")) {
      assertThatThrownBy(() -> GuestUsers.parse(words)).as(words).isInstanceOf(IOException.class);
    }
  }
}
