package io.xenferry.sr;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import io.xenferry.block.ForwardingBackend;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Consumer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * All attached SRs, and the rules of who may use a VDI how.
 *
 * <ul>
 *   <li>Domains use VDIs through {@link Datapaths}.
 *   <li>An export is opened only if no domain has the VDI activated and nobody copies it, and a
 *       domain activates a VDI, or a copy of it begins, only if no export of it is open. Whether
 *       one is open only the exporter's journal says.
 *   <li>This server writes only a VDI that nobody else uses, and nobody else uses it meanwhile.
 *   <li>A VDI that is written is not copied. Deactivating waits for the copies of the VDI that are
 *       under way.
 * </ul>
 *
 * <p>What is in use is stored and survives a restart of the server, as the guests do. Thread-safe;
 * all methods block.
 */
public final class StorageMux implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(StorageMux.class);

  private final SrDrivers drivers;
  private final VdiExporter exporter;
  private final Map<String, StorageRepository> attached = new ConcurrentHashMap<>();
  private final VdiUses uses = new VdiUses();
  private final Datapaths datapaths;
  private volatile Runnable onMergeable = () -> {};
  private volatile Consumer<String> onMerged = sr -> {};

  /**
   * Starts with nothing attached and what the state file says is in use.
   *
   * @param stateFile empty keeps nothing
   */
  public StorageMux(SrDrivers drivers, VdiExporter exporter, Optional<Path> stateFile)
      throws IOException {
    this.drivers = drivers;
    this.exporter = exporter;
    try {
      this.datapaths = new Datapaths(uses, new StorageState(stateFile), this::isExported);
    } catch (SmapiException e) {
      throw new IOException(e);
    }
  }

  public SrDrivers drivers() {
    return drivers;
  }

  /** Calls somebody, who must not block, when there may be something to merge below a guest. */
  public void onMergeable(Runnable listener) {
    onMergeable = listener;
  }

  /**
   * Tells somebody, who may block, of an attached SR in which images that no guest has were merged.
   */
  public void onMerged(Consumer<String> listener) {
    onMerged = listener;
  }

  // ---- SRs

  /** The SRs that are attached. */
  public List<String> list() {
    return attached.keySet().stream().sorted().toList();
  }

  /**
   * An attached SR, for what needs no datapath.
   *
   * @throws SmapiException Sr_not_attached
   */
  public StorageRepository repository(String sr) throws SmapiException {
    StorageRepository repository = attached.get(sr);
    if (repository == null) {
      throw SmapiException.srNotAttached(sr);
    }
    return repository;
  }

  /** Attaches an SR; attaching it again does nothing. */
  public synchronized void attach(String sr, String type, Map<String, String> deviceConfig)
      throws SmapiException {
    if (attached.containsKey(sr)) {
      return;
    }
    StorageRepository repository = drivers.ofType(type).attach(sr, deviceConfig);
    repository.onMergeable(() -> onMergeable.run());
    repository.onMerged(() -> onMerged.accept(sr));
    datapaths.resume(repository);
    resumeExports(repository);
    attached.put(sr, repository);
  }

  /** Tells a back end that was just attached which of its VDIs targets serve already. */
  private void resumeExports(StorageRepository repository) {
    try {
      for (VdiInfo vdi : repository.scan()) {
        if (isExported(repository.sr(), vdi.vdi())) {
          repository.beginExport(vdi.vdi());
        }
      }
    } catch (SmapiException e) {
      LOG.warn("SR {}: what was exported is not to be had: {}", repository.sr(), e.toString());
    }
  }

  /** Detaches an SR that nobody uses (16); detaching what is not attached does nothing. */
  public synchronized void detach(String sr) throws SmapiException {
    StorageRepository repository = attached.get(sr);
    if (repository == null) {
      return;
    }
    refuseIfUsed(repository);
    repository.detach();
    attached.remove(sr);
  }

  /** Lets go of all SRs and leaves everything as it is, see {@link StorageRepository#release}. */
  @Override
  public synchronized void close() {
    attached.values().forEach(StorageRepository::release);
    attached.clear();
  }

  public synchronized void destroy(String sr) throws SmapiException {
    StorageRepository repository = repository(sr);
    refuseIfUsed(repository);
    repository.destroy();
    attached.remove(sr);
  }

  private void refuseIfUsed(StorageRepository repository) throws SmapiException {
    Optional<String> used = uses.anyInUse(repository.sr());
    if (used.isEmpty()) {
      used = anyExported(repository);
    }
    if (used.isPresent()) {
      throw SmapiException.failure(SmError.SR_IN_USE, "VDI " + used.get() + " is in use");
    }
  }

  private Optional<String> anyExported(StorageRepository repository) {
    try {
      return repository.scan().stream()
          .map(VdiInfo::vdi)
          .filter(vdi -> isExported(repository.sr(), vdi))
          .findFirst();
    } catch (SmapiException e) {
      LOG.warn("SR {}: given back though it cannot be read: {}", repository.sr(), e.toString());
      return Optional.empty();
    }
  }

  // ---- datapaths

  /** Makes the VDI known to the domain; not yet to be used. */
  public List<Implementation> attachVdi(
      String dp, String sr, String vdi, String domain, boolean writable) throws SmapiException {
    return datapaths.attach(repository(sr), dp, vdi, domain, writable);
  }

  /** Lets the domain use the VDI, as it was attached. */
  public void activate(String dp, String sr, String vdi, String domain) throws SmapiException {
    activate(dp, sr, vdi, domain, false);
  }

  /** Lets the domain use the VDI. With {@code onlyReading} even if it was attached for writing. */
  public void activate(String dp, String sr, String vdi, String domain, boolean onlyReading)
      throws SmapiException {
    datapaths.activate(repository(sr), dp, vdi, domain, onlyReading);
  }

  /** Ends the use, once the copies of the VDI that are under way are done. */
  public void deactivate(String dp, String sr, String vdi) throws SmapiException {
    datapaths.deactivate(repository(sr), dp, vdi);
  }

  /** Ends what {@link #attachVdi} began; the datapath must be deactivated. */
  public void detachVdi(String dp, String sr, String vdi) throws SmapiException {
    datapaths.detach(repository(sr), dp, vdi);
  }

  /**
   * Takes every VDI away from a datapath.
   *
   * @param allowLeak forget it even if the back end fails
   */
  public void destroyDatapath(String dp, boolean allowLeak) throws SmapiException {
    for (List<String> vdi : uses.inUse()) {
      destroyDatapath(dp, vdi.get(0), vdi.get(1), allowLeak);
    }
  }

  /** The same for one VDI. */
  public void destroyDatapath(String dp, String sr, String vdi, boolean allowLeak)
      throws SmapiException {
    if (!datapaths(sr, vdi).containsKey(dp)) {
      return;
    }
    try {
      deactivate(dp, sr, vdi);
      detachVdi(dp, sr, vdi);
    } catch (SmapiException e) {
      if (!allowLeak) {
        throw e;
      }
      LOG.warn("datapath {} of VDI {} is forgotten although: {}", dp, vdi, e.toString());
      datapaths.forget(dp, sr, vdi);
    }
  }

  /** What each datapath does with a VDI; without those that have nothing to do with it. */
  public Map<String, DatapathState> datapaths(String sr, String vdi) {
    return datapaths.of(sr, vdi);
  }

  /** All datapaths, for people to read. */
  public List<String> describeDatapaths() {
    return datapaths.describe();
  }

  /** How a datapath that is attached reaches its VDI. */
  public List<Implementation> attachInfo(String dp, String sr, String vdi) throws SmapiException {
    DatapathState now = datapaths(sr, vdi).getOrDefault(dp, DatapathState.DETACHED);
    if (!now.isAttached()) {
      throw SmapiException.doesNotExist("dp", dp);
    }
    return repository(sr).attachVdi(vdi, now.isWritable());
  }

  /** Whether anybody but one domain has to do with a VDI: another domain, another host, a copy. */
  public boolean isUsedBesides(String domain, String sr, String vdi) throws SmapiException {
    return uses.locked(
        sr,
        vdi,
        use ->
            isExported(sr, vdi)
                || use.isCopied()
                || use.isFilled()
                || use.domains.values().stream().anyMatch(user -> !user.equals(domain)));
  }

  /**
   * Takes a VDI away from one domain, whose guest is gone; forgets it even if the back end fails.
   */
  public void takeFrom(String domain, String sr, String vdi) throws SmapiException {
    Map<String, String> domains = uses.locked(sr, vdi, use -> Map.copyOf(use.domains));
    for (Map.Entry<String, String> user : domains.entrySet()) {
      if (user.getValue().equals(domain)) {
        destroyDatapath(user.getKey(), sr, vdi, true);
      }
    }
  }

  // ---- VDIs that nobody uses

  public void destroyVdi(String sr, String vdi) throws SmapiException {
    exclusively(
        sr,
        vdi,
        repository -> {
          repository.destroyVdi(vdi);
          return vdi;
        });
  }

  public long resize(String sr, String vdi, long size) throws SmapiException {
    return exclusively(sr, vdi, repository -> repository.resize(vdi, size));
  }

  private interface Exclusive<T> {
    T run(StorageRepository repository) throws SmapiException;
  }

  private <T> T exclusively(String sr, String vdi, Exclusive<T> body) throws SmapiException {
    StorageRepository repository = repository(sr);
    return uses.locked(
        sr,
        vdi,
        use -> {
          if (!use.isIdle() || isExported(sr, vdi)) {
            throw SmapiException.failure(SmError.VDI_IN_USE, "the VDI is in use");
          }
          return body.run(repository);
        });
  }

  // ---- exports

  private static String tag(String sr, String vdi) {
    return sr + "/" + vdi;
  }

  /** Opens an export of the VDI for another host to write, and answers its URL (a secret). */
  public String getUrl(String sr, String vdi) throws SmapiException {
    StorageRepository repository = repository(sr);
    return uses.locked(
        sr,
        vdi,
        use -> {
          if (use.superstate().isActivated() || use.isCopied() || use.isFilled()) {
            throw SmapiException.failure(
                SmError.VDI_IN_USE, "a domain has the VDI open, or it is being copied");
          }
          VdiInfo info = repository.stat(vdi);
          Path image =
              repository
                  .beginExport(vdi)
                  .orElseThrow(() -> SmapiException.unimplemented("VDI.get_url"));
          try {
            return exporter.open(image, info.virtualSize(), tag(sr, vdi));
          } catch (IOException e) {
            if (!isExported(sr, vdi)) {
              repository.endExport(vdi);
            }
            throw SmapiException.failure(SmError.VDI_UNAVAILABLE, "cannot export " + vdi + ": " + e)
                .withCause(e);
          }
        });
  }

  /**
   * Closes the export of a VDI if there is one: afterwards nobody else can change it. After a
   * failure it counts as open, and the call may be repeated.
   */
  public void closeUrl(String sr, String vdi) throws SmapiException {
    Optional<StorageRepository> repository = Optional.ofNullable(attached.get(sr));
    uses.locked(
        sr,
        vdi,
        use -> {
          try {
            exporter.close(tag(sr, vdi));
            if (repository.isPresent()) {
              repository.get().endExport(vdi);
            }
            return use;
          } catch (IOException e) {
            throw SmapiException.failure(SmError.VDI_UNAVAILABLE, "cannot close the export: " + e)
                .withCause(e);
          }
        });
  }

  public boolean isExported(String sr, String vdi) {
    return exporter.isOpen(tag(sr, vdi));
  }

  // ---- copies

  /** A copy of a VDI that nobody writes, as it is now; {@link StorageRepository#snapshot}. */
  public VdiInfo snapshot(String sr, VdiInfo wanted, Progress progress) throws SmapiException {
    StorageRepository repository = repository(sr);
    return copying(sr, wanted.vdi(), () -> repository.snapshot(wanted, progress));
  }

  /** Begins a snapshot of a VDI that a guest has open; {@link StorageRepository#beginSnapshot}. */
  public StorageRepository.LiveSnapshot beginSnapshot(String sr, VdiInfo wanted)
      throws SmapiException {
    StorageRepository repository = repository(sr);
    return uses.locked(
        sr,
        wanted.vdi(),
        use -> {
          if (use.isCopied() || use.isFilled() || isExported(sr, wanted.vdi())) {
            throw SmapiException.failure(
                SmError.VDI_IN_USE, "the VDI is being copied, or another host writes it");
          }
          return repository.beginSnapshot(wanted);
        });
  }

  /** Makes a VDI that nobody uses what its snapshot is; {@link StorageRepository#revert}. */
  public void revert(String sr, String vdi, String snapshot) throws SmapiException {
    exclusively(
        sr,
        vdi,
        repository -> {
          repository.revert(vdi, snapshot);
          return vdi;
        });
  }

  /** {@link StorageRepository#dataDestroy} of a VDI that nobody uses. */
  public void dataDestroy(String sr, String vdi) throws SmapiException {
    exclusively(
        sr,
        vdi,
        repository -> {
          repository.dataDestroy(vdi);
          return vdi;
        });
  }

  /** The same as a disk in its own right; {@link StorageRepository#copyOf}. */
  public VdiInfo copyOf(String sr, VdiInfo wanted, Progress progress) throws SmapiException {
    StorageRepository repository = repository(sr);
    return copying(sr, wanted.vdi(), () -> repository.copyOf(wanted, progress));
  }

  /**
   * Copies a VDI that nobody writes onto a backend, whatever that holds, and flushes it. The
   * backend stays open.
   *
   * @throws SmapiException VDI_TOO_SMALL, VDI_IN_USE, VDI_COPY_FAILED, Cancelled
   */
  public void copy(String sr, String vdi, BlockBackend to, Progress progress)
      throws SmapiException {
    copy(sr, vdi, Optional.empty(), to, progress);
  }

  /**
   * The same of the parts only that differ from a base's, or that lie beyond its end; the others
   * stay as they are in the backend.
   *
   * @param base nobody writes it, as with {@link #openForCopy}
   */
  public void copyChanges(
      String sr, String vdi, BlockBackend base, BlockBackend to, Progress progress)
      throws SmapiException {
    copy(sr, vdi, Optional.of(base), to, progress);
  }

  private void copy(
      String sr, String vdi, Optional<BlockBackend> base, BlockBackend to, Progress progress)
      throws SmapiException {
    StorageRepository repository = repository(sr);
    copying(
        sr,
        vdi,
        () -> {
          try (BlockBackend from = repository.open(vdi, false)) {
            if (to.size() < from.size()) {
              throw SmapiException.backend(
                  "VDI_TOO_SMALL", List.of(to.name(), String.valueOf(from.size())));
            }
            VolumeCopy.copy(vdi, from, base, to, progress);
            return vdi;
          } catch (BlockException e) {
            throw SmapiException.backend("VDI_COPY_FAILED", List.of(String.valueOf(e.getMessage())))
                .withCause(e);
          } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw SmapiException.cancelled(vdi).withCause(e);
          }
        });
  }

  /**
   * Opens a VDI that nobody writes for a copy; until the backend is closed nobody can begin to.
   *
   * @throws SmapiException VDI_IN_USE and what the back end says
   */
  public BlockBackend openForCopy(String sr, String vdi) throws SmapiException {
    StorageRepository repository = repository(sr);
    beginCopy(sr, vdi);
    boolean open = false;
    try {
      BlockBackend backend = new Copied(repository.open(vdi, false), sr, vdi);
      open = true;
      return backend;
    } finally {
      if (!open) {
        uses.endCopy(sr, vdi);
      }
    }
  }

  private final class Copied extends ForwardingBackend {
    private final String sr;
    private final String vdi;
    private final AtomicBoolean closed = new AtomicBoolean();

    Copied(BlockBackend delegate, String sr, String vdi) {
      super(delegate);
      this.sr = sr;
      this.vdi = vdi;
    }

    @Override
    public void close() {
      if (closed.compareAndSet(false, true)) {
        try {
          super.close();
        } finally {
          uses.endCopy(sr, vdi);
        }
      }
    }
  }

  /**
   * Opens a VDI that nobody uses to be written from here; until the backend is closed nobody can
   * begin to use it.
   *
   * @throws SmapiException VDI_IN_USE and what the back end says
   */
  public BlockBackend openForFilling(String sr, String vdi) throws SmapiException {
    StorageRepository repository = repository(sr);
    uses.locked(
        sr,
        vdi,
        use -> {
          if (!use.isIdle() || isExported(sr, vdi)) {
            throw SmapiException.failure(SmError.VDI_IN_USE, "the VDI is in use");
          }
          repository.attachVdi(vdi, true);
          use.setFilled(true);
          return use;
        });
    boolean open = false;
    try {
      repository.activate(vdi, true);
      BlockBackend backend = new Filled(repository.open(vdi, true), repository, vdi);
      open = true;
      return backend;
    } finally {
      if (!open) {
        endFilling(repository, vdi);
      }
    }
  }

  private void endFilling(StorageRepository repository, String vdi) {
    try {
      repository.deactivate(vdi);
      repository.detachVdi(vdi);
    } catch (SmapiException e) {
      LOG.warn("SR {}: VDI {} is not given back: {}", repository.sr(), vdi, e.toString());
    } finally {
      uses.endFilling(repository.sr(), vdi);
    }
  }

  private final class Filled extends ForwardingBackend {
    private final StorageRepository repository;
    private final String vdi;
    private final AtomicBoolean closed = new AtomicBoolean();

    Filled(BlockBackend delegate, StorageRepository repository, String vdi) {
      super(delegate);
      this.repository = repository;
      this.vdi = vdi;
    }

    @Override
    public void close() {
      if (closed.compareAndSet(false, true)) {
        try {
          super.close();
        } finally {
          endFilling(repository, vdi);
        }
      }
    }
  }

  private interface Copy<T> {
    T run() throws SmapiException;
  }

  private <T> T copying(String sr, String vdi, Copy<T> copy) throws SmapiException {
    beginCopy(sr, vdi);
    try {
      return copy.run();
    } finally {
      uses.endCopy(sr, vdi);
    }
  }

  private void beginCopy(String sr, String vdi) throws SmapiException {
    uses.locked(
        sr,
        vdi,
        use -> {
          if (use.isWritten() || isExported(sr, vdi)) {
            throw SmapiException.failure(
                SmError.VDI_IN_USE, "a domain or another host writes the VDI");
          }
          use.beginCopy();
          return use;
        });
  }
}
