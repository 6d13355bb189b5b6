package io.xenferry.server.storage;

import io.xenferry.iscsi.IscsiUrl.Credentials;
import io.xenferry.iscsi.target.Acl;
import io.xenferry.iscsi.target.Export;
import io.xenferry.iscsi.target.TargetService;
import io.xenferry.server.storage.MigrationDisks.ExportName;
import java.io.IOException;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.util.HexFormat;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Predicate;

/**
 * Exports images over iSCSI. A target's name holds the export's name, by which a migration knows
 * its own, and the VDI's location, by which it is found again after a restart.
 */
final class IscsiExporter implements DiskExporter {
  private static final String PREFIX = "iqn.2026-01.io.xenferry:";
  private static final int LUN = 1;

  private final TargetService targets;
  private final SecureRandom random = new SecureRandom();
  private final Map<String, ExportName> agreed = new ConcurrentHashMap<>();

  IscsiExporter(TargetService targets) {
    this.targets = targets;
  }

  @Override
  public void agree(String tag, ExportName name) {
    agreed.put(tag, name);
  }

  @Override
  public String open(Path image, long size, String tag) throws IOException {
    Optional<Export> open = find(tag);
    if (open.isPresent()) {
      return targets
          .url(open.get().iqn())
          .orElseThrow(() -> new IOException("no URL of " + open.get().iqn()))
          .text();
    }
    ExportName name = Optional.ofNullable(agreed.remove(tag)).orElseGet(this::anonymous);
    String vdi = location(tag);
    return targets
        .open(
            new Export(
                PREFIX + name.name() + ":" + vdi,
                LUN,
                new Export.Backing.File(image.toAbsolutePath()),
                vdi.replace("-", "").substring(0, Math.min(24, vdi.replace("-", "").length())),
                vdi.substring(0, Math.min(36, vdi.length())),
                Optional.of(new Credentials(name.account(), name.secret())),
                name.initiator().isEmpty() ? new Acl.Everybody() : new Acl.ByName(name.initiator()),
                true,
                false))
        .text();
  }

  /** For VDI.get_url outside a migration: whoever has the URL has the disk. */
  private ExportName anonymous() {
    byte[] secret = new byte[12];
    random.nextBytes(secret);
    String id = UUID.randomUUID().toString();
    return new ExportName(id, id, HexFormat.of().formatHex(secret), "");
  }

  @Override
  public void close(String tag) throws IOException {
    Optional<Export> open = find(tag);
    if (open.isPresent()) {
      targets.close(open.get().iqn());
    }
  }

  @Override
  public boolean isOpen(String tag) {
    return find(tag).isPresent();
  }

  private Optional<Export> find(String tag) {
    String suffix = ":" + location(tag);
    return targets.list().stream()
        .filter(e -> e.iqn().startsWith(PREFIX) && e.iqn().endsWith(suffix))
        .findFirst();
  }

  /** The target service has re-created by its own journal what was open. */
  @Override
  public void takeUp(Predicate<String> wanted) throws IOException {
    closeIf(wanted.negate());
  }

  @Override
  public void closeIf(Predicate<String> unwanted) throws IOException {
    for (Export export : targets.list()) {
      String rest = export.iqn().startsWith(PREFIX) ? export.iqn().substring(PREFIX.length()) : "";
      int colon = rest.lastIndexOf(':');
      if (colon > 0 && unwanted.test(rest.substring(0, colon))) {
        targets.close(export.iqn());
      }
    }
  }

  private static String location(String tag) {
    return tag.substring(tag.indexOf('/') + 1);
  }
}
