package io.xenferry.sr;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.block.ForwardingBackend;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicBoolean;

/** Who may use a volume now: guests, this process, targets for other hosts. */
final class VolumeAccess {
  private final Volumes volumes;
  private final VolumeStore store;
  private final VolumeBooks books;

  VolumeAccess(Volumes volumes) {
    this.volumes = volumes;
    this.store = volumes.store;
    this.books = volumes.books;
  }

  List<Implementation> attachVdi(String vdi, boolean writable) throws SmapiException {
    return volumes.locked(
        SmError.VDI_UNAVAILABLE,
        () -> {
          volumes.requireStill(vdi);
          return attach(vdi, writable);
        });
  }

  void resumeVdi(String vdi, boolean writable) throws SmapiException {
    volumes.locked(
        SmError.VDI_UNAVAILABLE,
        () -> {
          books.require(vdi);
          return attach(vdi, writable);
        });
  }

  private List<Implementation> attach(String vdi, boolean writable)
      throws SmapiException, IOException {
    if (books.info(vdi).type().equals(VdiInfo.CBT_METADATA)) {
      throw SmapiException.backend("VDI_INCOMPATIBLE_TYPE", List.of(vdi, VdiInfo.CBT_METADATA));
    }
    if (writable && (books.info(vdi).readOnly() || !volumes.isWritable(vdi))) {
      throw SmapiException.failure(SmError.VDI_UNAVAILABLE, "the VDI is read-only");
    }
    volumes.attached.add(vdi);
    Optional<Path> path = store.path(vdi);
    if (path.isEmpty()) {
      return List.of();
    }
    String text = path.get().toString();
    return List.of(
        new Implementation.XenDisk(text, Map.of(), "qdisk"), new Implementation.File(text));
  }

  void activate(String vdi, boolean writable) throws SmapiException {
    volumes.locked(
        SmError.VDI_UNAVAILABLE,
        () -> {
          books.require(vdi);
          if (writable && volumes.copying.contains(vdi)) {
            throw SmapiException.failure(SmError.VDI_IN_USE, "the VDI is being copied");
          }
          // Whoever lets a domain have it has seen that no target serves it any more.
          store.endView(vdi);
          volumes.exported.remove(vdi);
          if (writable) {
            // Whoever writes makes it differ from all that had the same content.
            books.save(books.info(vdi).edit().contentId(UUID.randomUUID().toString()).done());
            volumes.written.add(vdi);
          }
          volumes.active.add(vdi);
          volumes.onMergeable.run();
          return vdi;
        });
  }

  void deactivate(String vdi) throws SmapiException {
    volumes.locked(
        SmError.VDI_UNAVAILABLE,
        () -> {
          volumes.active.remove(vdi);
          volumes.written.remove(vdi);
          return vdi;
        });
  }

  void detachVdi(String vdi) throws SmapiException {
    volumes.locked(
        SmError.VDI_UNAVAILABLE,
        () -> {
          volumes.attached.remove(vdi);
          volumes.wakeMerging();
          books.require(vdi);
          return vdi;
        });
  }

  BlockBackend open(String vdi, boolean writable) throws SmapiException {
    volumes.locked(
        SmError.VDI_UNAVAILABLE,
        () -> {
          volumes.requireStill(vdi);
          if (!volumes.exported.contains(vdi)) {
            store.endView(vdi); // left by another server
          }
          volumes.open.merge(vdi, 1, Integer::sum);
          return vdi;
        });
    boolean opened = false;
    try {
      BlockBackend backend = store.open(vdi, writable);
      opened = true;
      return new OpenVolume(backend, vdi);
    } catch (BlockException e) {
      throw e.kind() == BlockException.Kind.ACCESS
          ? SmapiException.failure(SmError.VDI_IN_USE, String.valueOf(e.getMessage())).withCause(e)
          : volumes.translated(SmError.VDI_UNAVAILABLE, e);
    } finally {
      if (!opened) {
        closed(vdi);
      }
    }
  }

  private void closed(String vdi) {
    volumes.lock.lock();
    try {
      volumes.open.computeIfPresent(vdi, (key, count) -> count > 1 ? count - 1 : null);
      volumes.wakeMerging();
    } finally {
      volumes.lock.unlock();
    }
  }

  /** A volume that is read or written from here. */
  private final class OpenVolume extends ForwardingBackend {
    private final String vdi;
    private final AtomicBoolean closed = new AtomicBoolean();

    OpenVolume(BlockBackend backend, String vdi) {
      super(backend);
      this.vdi = vdi;
    }

    @Override
    public void close() {
      super.close();
      if (closed.compareAndSet(false, true)) {
        closed(vdi);
      }
    }
  }

  Optional<Path> beginExport(String vdi) throws SmapiException {
    return volumes.locked(
        SmError.VDI_UNAVAILABLE,
        () -> {
          volumes.requireStill(vdi);
          if (volumes.open.containsKey(vdi) || volumes.copying.contains(vdi)) {
            throw SmapiException.failure(SmError.VDI_IN_USE, "the VDI is in use");
          }
          boolean based = volumes.books.info(vdi).smConfig().containsKey(VdiInfo.SM_CONFIG_BASE);
          Optional<Path> view = store.beginView(vdi, based);
          volumes.exported.add(vdi);
          return view;
        });
  }

  void endExport(String vdi) throws SmapiException {
    volumes.locked(
        SmError.VDI_UNAVAILABLE,
        () -> {
          store.endView(vdi);
          volumes.exported.remove(vdi);
          volumes.wakeMerging();
          return vdi;
        });
  }
}
