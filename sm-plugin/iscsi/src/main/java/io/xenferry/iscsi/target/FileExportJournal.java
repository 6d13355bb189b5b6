package io.xenferry.iscsi.target;

import io.xenferry.iscsi.IscsiUrl.Credentials;
import java.io.IOException;
import java.io.StringReader;
import java.io.StringWriter;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Properties;
import java.util.stream.Stream;

/**
 * A journal of one small file per open export in a directory of its own, readable by its owner only
 * since it holds CHAP secrets. A file is written aside, synced, renamed, and the directory synced;
 * closing removes it and syncs the directory.
 */
public final class FileExportJournal implements ExportJournal {
  private static final String SUFFIX = ".export";
  private static final String ASIDE = ".new";

  private final Path directory;

  public FileExportJournal(Path directory) throws IOException {
    this.directory = directory;
    Files.createDirectories(
        directory,
        PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
    // Of a server that was killed while it wrote them; there are secrets in them.
    try (Stream<Path> files = Files.list(directory)) {
      for (Path aside : files.filter(p -> p.toString().endsWith(SUFFIX + ASIDE)).toList()) {
        Files.delete(aside);
      }
    }
  }

  private Path file(String iqn) {
    // A colon is the only character of a name that some file systems refuse.
    return directory.resolve(iqn.replace(':', '+') + SUFFIX);
  }

  @Override
  public void opened(Export export) throws IOException {
    if (!(export.backing() instanceof Export.Backing.File)) {
      // A device of this process ends with it: after a restart there is nothing to re-create.
      return;
    }
    StringWriter text = new StringWriter();
    properties(export).store(text, null);
    Path target = file(export.iqn());
    Path aside = directory.resolve(target.getFileName() + ASIDE);
    Files.deleteIfExists(aside);
    Files.createFile(
        aside, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
    try {
      write(aside, text.toString());
      Files.move(aside, target, StandardCopyOption.ATOMIC_MOVE);
    } catch (IOException e) {
      Files.deleteIfExists(aside); // nobody would ever look for it
      throw e;
    }
    sync();
  }

  private static void write(Path file, String text) throws IOException {
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
      ByteBuffer bytes = ByteBuffer.wrap(text.getBytes(StandardCharsets.UTF_8));
      while (bytes.hasRemaining()) {
        channel.write(bytes);
      }
      channel.force(true);
    }
  }

  @Override
  public void closed(String iqn) throws IOException {
    if (Files.deleteIfExists(file(iqn))) {
      sync();
    }
  }

  @Override
  public List<Export> open() throws IOException {
    List<Export> found = new ArrayList<>();
    try (Stream<Path> files = Files.list(directory)) {
      for (Path path : files.filter(p -> p.toString().endsWith(SUFFIX)).sorted().toList()) {
        Properties properties = new Properties();
        properties.load(new StringReader(Files.readString(path)));
        try {
          found.add(export(properties));
        } catch (IllegalArgumentException e) {
          throw new IOException("journal entry " + path + " is damaged: " + e.getMessage(), e);
        }
      }
    }
    return found;
  }

  private void sync() throws IOException {
    try (FileChannel channel = FileChannel.open(directory, StandardOpenOption.READ)) {
      channel.force(true);
    }
  }

  private static Properties properties(Export export) {
    Properties p = new Properties();
    p.setProperty("iqn", export.iqn());
    p.setProperty("lun", Integer.toString(export.lun()));
    if (export.backing() instanceof Export.Backing.File file) {
      p.setProperty("file", file.path().toString());
    }
    p.setProperty("scsi-id", export.scsiId());
    p.setProperty("serial", export.serial());
    export.account().ifPresent(a -> p.setProperty("user", a.user()));
    export.account().ifPresent(a -> p.setProperty("secret", a.secret()));
    export.ownAccount().ifPresent(a -> p.setProperty("own-user", a.user()));
    export.ownAccount().ifPresent(a -> p.setProperty("own-secret", a.secret()));
    switch (export.acl()) {
      case Acl.ByAddress by -> p.setProperty("address", by.network());
      case Acl.ByName by -> p.setProperty("initiator", by.initiator());
      case Acl.Everybody all -> p.setProperty("everybody", "true");
    }
    p.setProperty("thin", Boolean.toString(export.thin()));
    p.setProperty("read-only", Boolean.toString(export.readOnly()));
    return p;
  }

  private static Export export(Properties p) {
    String address = p.getProperty("address");
    String initiator = p.getProperty("initiator");
    Acl acl =
        address != null
            ? new Acl.ByAddress(address)
            : initiator != null
                ? new Acl.ByName(initiator)
                : p.containsKey("everybody") ? new Acl.Everybody() : noRule();
    return new Export(
        required(p, "iqn"),
        Integer.parseInt(required(p, "lun")),
        new Export.Backing.File(Path.of(required(p, "file"))),
        required(p, "scsi-id"),
        required(p, "serial"),
        account(p, "user", "secret"),
        account(p, "own-user", "own-secret"),
        acl,
        Boolean.parseBoolean(required(p, "thin")),
        Boolean.parseBoolean(required(p, "read-only")));
  }

  private static Optional<Credentials> account(Properties p, String user, String secret) {
    return p.containsKey(user)
        ? Optional.of(new Credentials(required(p, user), required(p, secret)))
        : Optional.empty();
  }

  private static String required(Properties p, String key) {
    String value = p.getProperty(key);
    if (value == null) {
      throw new IllegalArgumentException("no " + key);
    }
    return value;
  }

  private static Acl noRule() {
    throw new IllegalArgumentException("no access rule");
  }
}
