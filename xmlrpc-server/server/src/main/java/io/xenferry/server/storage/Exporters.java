package io.xenferry.server.storage;

import io.xenferry.server.storage.MigrationDisks.ExportName;
import io.xenferry.sr.VdiExporter;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Predicate;

/** The exporters of this host, of which one has an image at a time. */
final class Exporters implements VdiExporter {
  private final Map<Transport, DiskExporter> exporters;
  private final Map<String, Transport> agreed = new ConcurrentHashMap<>();

  /** What is exported under each tag by this server. */
  private final Map<String, Path> images = new ConcurrentHashMap<>();

  Exporters(Map<Transport, DiskExporter> exporters) {
    this.exporters = Map.copyOf(exporters);
  }

  private DiskExporter of(Transport transport) throws IOException {
    return Optional.ofNullable(exporters.get(transport))
        .orElseThrow(() -> new IOException("this server exports nothing by " + transport.word()));
  }

  /** By what and under which name the next export with the tag is to be opened. */
  void agree(String tag, Transport transport, ExportName name) throws IOException {
    of(transport).agree(tag, name);
    agreed.put(tag, transport);
  }

  @Override
  public String open(Path image, long size, String tag) throws IOException {
    Optional<Transport> wanted = Optional.ofNullable(agreed.remove(tag));
    images.put(tag, image);
    for (DiskExporter exporter : exporters.values()) {
      if (exporter.isOpen(tag)) {
        return exporter.open(image, size, tag);
      }
    }
    return of(wanted.orElse(Transport.ISCSI)).open(image, size, tag);
  }

  /** The file behind an open export, which shows the disk as the export does. */
  Optional<Path> image(String tag) {
    return isOpen(tag) ? Optional.ofNullable(images.get(tag)) : Optional.empty();
  }

  @Override
  public void close(String tag) throws IOException {
    images.remove(tag);
    for (DiskExporter exporter : exporters.values()) {
      exporter.close(tag);
    }
  }

  @Override
  public boolean isOpen(String tag) {
    return exporters.values().stream().anyMatch(exporter -> exporter.isOpen(tag));
  }

  void closeIf(Predicate<String> unwanted) throws IOException {
    for (DiskExporter exporter : exporters.values()) {
      exporter.closeIf(unwanted);
    }
  }

  void takeUp(Predicate<String> wanted) throws IOException {
    for (DiskExporter exporter : exporters.values()) {
      exporter.takeUp(wanted);
    }
  }
}
