package io.xenferry.sr;

import io.xenferry.block.BlockBackend;
import io.xenferry.block.BlockException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * All attached SRs, and the rules of who may use a VDI how.
 *
 * <ul>
 *   <li>A datapath goes through {@link DatapathState} one step at a time; the back end is told only
 *       of changes of what all datapaths together demand.
 *   <li>An export is opened only if no domain has the VDI activated, and a domain activates a VDI
 *       only if no export of it is open. An export is written down as closed before it is closed.
 *   <li>Deactivating waits for the copies of the VDI that are under way.
 * </ul>
 *
 * <p>What is in use is stored and survives a restart of the server, as the guests do. Thread-safe;
 * all methods block.
 */
public final class StorageMux {
  private static final Logger LOG = LoggerFactory.getLogger(StorageMux.class);

  /** How long deactivating waits for copies: what a client waits for a VM.shutdown. */
  private static final long DRAIN_MILLIS = 150_000;

  private final SrDrivers drivers;
  private final VdiExporter exporter;
  private final StorageState state;
  private final Map<String, StorageRepository> attached = new ConcurrentHashMap<>();
  private final Map<List<String>, VdiUse> uses = new ConcurrentHashMap<>();

  /**
   * Starts with nothing attached and what the state file says is in use.
   *
   * @param stateFile empty keeps nothing
   */
  public StorageMux(SrDrivers drivers, VdiExporter exporter, Optional<Path> stateFile)
      throws IOException {
    this.drivers = drivers;
    this.exporter = exporter;
    this.state = new StorageState(stateFile);
    for (StorageState.Stored s : state.datapaths()) {
      use(s.sr(), s.vdi()).set(s.dp(), s.domain(), s.state());
    }
    state.exports().forEach((key, tag) -> use(key.get(0), key.get(1)).export = Optional.of(tag));
  }

  public SrDrivers drivers() {
    return drivers;
  }

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
    // Guests of before a restart still have these open.
    for (StorageState.Stored s : state.datapaths()) {
      if (s.sr().equals(sr) && s.state().isActivated()) {
        try {
          repository.activate(s.vdi(), s.state().isWritable());
        } catch (SmapiException e) {
          LOG.warn("SR {}: VDI {} was in use and is not to be had: {}", sr, s.vdi(), e.toString());
        }
      }
    }
    attached.put(sr, repository);
  }

  /** Detaches an SR that nobody uses (16); detaching what is not attached does nothing. */
  public synchronized void detach(String sr) throws SmapiException {
    StorageRepository repository = attached.get(sr);
    if (repository == null) {
      return;
    }
    refuseIfUsed(sr);
    repository.detach();
    attached.remove(sr);
  }

  public synchronized void destroy(String sr) throws SmapiException {
    refuseIfUsed(sr);
    repository(sr).destroy();
    attached.remove(sr);
  }

  private void refuseIfUsed(String sr) throws SmapiException {
    for (Map.Entry<List<String>, VdiUse> e : uses.entrySet()) {
      if (e.getKey().getFirst().equals(sr) && !e.getValue().isIdle()) {
        throw SmapiException.failure(SmError.SR_IN_USE, "VDI " + e.getKey().get(1) + " is in use");
      }
    }
  }

  /** Makes the VDI known to the domain; not yet to be used. */
  public List<Implementation> attachVdi(
      String dp, String sr, String vdi, String domain, boolean writable) throws SmapiException {
    StorageRepository repository = repository(sr);
    VdiUse use = use(sr, vdi);
    use.lock.lock();
    try {
      DatapathState now = use.of(dp);
      DatapathState wanted = DatapathState.attached(writable);
      if (now.isActivated() || now.isAttached() && writable && !now.isWritable()) {
        throw SmapiException.illegalTransition(now, wanted);
      }
      DatapathState others = use.superstateWithout(dp);
      if (writable && others.isAttached() && !others.isWritable()) {
        throw SmapiException.illegalTransition(others, wanted);
      }
      List<Implementation> answer = repository.attachVdi(vdi, writable);
      if (!now.isAttached()) {
        store(use, sr, vdi, dp, domain, wanted);
      }
      return answer;
    } finally {
      use.lock.unlock();
    }
  }

  /** Lets the domain use the VDI, as it was attached. */
  public void activate(String dp, String sr, String vdi, String domain) throws SmapiException {
    activate(dp, sr, vdi, domain, false);
  }

  /** Lets the domain use the VDI. With {@code onlyReading} even if it was attached for writing. */
  public void activate(String dp, String sr, String vdi, String domain, boolean onlyReading)
      throws SmapiException {
    StorageRepository repository = repository(sr);
    VdiUse use = use(sr, vdi);
    use.lock.lock();
    try {
      DatapathState now = use.of(dp);
      DatapathState wanted = DatapathState.activated(now.isWritable() && !onlyReading);
      if (!now.isAttached()) {
        throw SmapiException.illegalTransition(now, wanted);
      }
      if (now.isActivated()) {
        return;
      }
      if (use.export.isPresent()) {
        throw SmapiException.failure(
            SmError.VDI_IN_USE, "an export of the VDI is open: " + use.export.get());
      }
      if (wanted.isWritable() && use.isCopied()) {
        throw SmapiException.failure(SmError.VDI_IN_USE, "the VDI is being copied");
      }
      if (!use.superstate().isActivated() || wanted.isWritable() && !use.isWritten()) {
        repository.activate(vdi, wanted.isWritable());
      }
      store(use, sr, vdi, dp, domain, wanted);
    } finally {
      use.lock.unlock();
    }
  }

  /** Ends the use, once the copies of the VDI that are under way are done. */
  public void deactivate(String dp, String sr, String vdi) throws SmapiException {
    StorageRepository repository = repository(sr);
    VdiUse use = use(sr, vdi);
    use.lock.lock();
    try {
      if (!use.of(dp).isActivated()) {
        return;
      }
      if (!use.awaitCopies(DRAIN_MILLIS)) {
        throw SmapiException.failure(SmError.VDI_IN_USE, "a copy of the VDI does not end");
      }
      DatapathState now = use.of(dp);
      if (!now.isActivated()) {
        return;
      }
      boolean others = use.superstateWithout(dp).isActivated();
      if (!others || !use.isWrittenWithout(dp)) {
        repository.deactivate(vdi);
      }
      if (others && !use.isWrittenWithout(dp)) {
        repository.activate(vdi, false);
      }
      String domain = use.domains.getOrDefault(dp, "");
      store(use, sr, vdi, dp, domain, DatapathState.attached(now.isWritable()));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw SmapiException.cancelled(dp).withCause(e);
    } finally {
      use.lock.unlock();
    }
  }

  /** Ends what {@link #attachVdi} began; the datapath must be deactivated. */
  public void detachVdi(String dp, String sr, String vdi) throws SmapiException {
    StorageRepository repository = repository(sr);
    VdiUse use = use(sr, vdi);
    use.lock.lock();
    try {
      DatapathState now = use.of(dp);
      if (now.isActivated()) {
        throw SmapiException.illegalTransition(now, DatapathState.DETACHED);
      }
      if (!now.isAttached()) {
        return;
      }
      if (!use.superstateWithout(dp).isAttached()) {
        repository.detachVdi(vdi);
      }
      store(use, sr, vdi, dp, "", DatapathState.DETACHED);
    } finally {
      use.lock.unlock();
    }
  }

  /**
   * Takes every VDI away from a datapath.
   *
   * @param allowLeak forget it even if the back end fails
   */
  public void destroyDatapath(String dp, boolean allowLeak) throws SmapiException {
    for (Map.Entry<List<String>, VdiUse> e : uses.entrySet()) {
      destroyDatapath(dp, e.getKey().get(0), e.getKey().get(1), allowLeak);
    }
  }

  /** The same for one VDI. */
  public void destroyDatapath(String dp, String sr, String vdi, boolean allowLeak)
      throws SmapiException {
    VdiUse use = use(sr, vdi);
    try {
      if (use.of(dp).isAttached()) {
        deactivate(dp, sr, vdi);
        detachVdi(dp, sr, vdi);
      }
    } catch (SmapiException e) {
      if (!allowLeak) {
        throw e;
      }
      LOG.warn("datapath {} of VDI {} is forgotten although: {}", dp, vdi, e.toString());
      use.lock.lock();
      try {
        store(use, sr, vdi, dp, "", DatapathState.DETACHED);
      } finally {
        use.lock.unlock();
      }
    }
  }

  /** What each datapath does with a VDI; without those that have nothing to do with it. */
  public Map<String, DatapathState> datapaths(String sr, String vdi) {
    VdiUse use = use(sr, vdi);
    use.lock.lock();
    try {
      return Map.copyOf(use.datapaths);
    } finally {
      use.lock.unlock();
    }
  }

  /** How a datapath that is attached reaches its VDI. */
  public List<Implementation> attachInfo(String dp, String sr, String vdi) throws SmapiException {
    DatapathState now = datapaths(sr, vdi).getOrDefault(dp, DatapathState.DETACHED);
    if (!now.isAttached()) {
      throw SmapiException.doesNotExist("dp", dp);
    }
    return repository(sr).attachVdi(vdi, now.isWritable());
  }

  public void destroyVdi(String sr, String vdi) throws SmapiException {
    exclusively(
        sr,
        vdi,
        () -> {
          repository(sr).destroyVdi(vdi);
          uses.remove(List.of(sr, vdi));
          return vdi;
        });
  }

  public long resize(String sr, String vdi, long size) throws SmapiException {
    return exclusively(sr, vdi, () -> repository(sr).resize(vdi, size));
  }

  /** Opens an export of the VDI for another host to write, and answers its URL (a secret). */
  public String getUrl(String sr, String vdi) throws SmapiException {
    StorageRepository repository = repository(sr);
    VdiUse use = use(sr, vdi);
    use.lock.lock();
    try {
      if (use.superstate().isActivated()) {
        throw SmapiException.failure(SmError.VDI_IN_USE, "a domain has the VDI open");
      }
      VdiInfo info = repository.stat(vdi);
      Path image =
          repository.path(vdi).orElseThrow(() -> SmapiException.unimplemented("VDI.get_url"));
      String tag = sr + "/" + vdi;
      state.putExport(sr, vdi, Optional.of(tag));
      use.export = Optional.of(tag);
      try {
        return exporter.open(image, info.virtualSize(), tag);
      } catch (IOException e) {
        state.putExport(sr, vdi, Optional.empty());
        exporter.close(tag);
        use.export = Optional.empty();
        throw e;
      }
    } catch (IOException e) {
      throw SmapiException.failure(SmError.VDI_UNAVAILABLE, "cannot export " + vdi + ": " + e)
          .withCause(e);
    } finally {
      use.lock.unlock();
    }
  }

  /** Closes the export of a VDI if there is one: afterwards nobody else can change it. */
  public void closeUrl(String sr, String vdi) throws SmapiException {
    VdiUse use = use(sr, vdi);
    use.lock.lock();
    try {
      if (use.export.isPresent()) {
        state.putExport(sr, vdi, Optional.empty());
        exporter.close(use.export.get());
        use.export = Optional.empty();
      }
    } catch (IOException e) {
      throw SmapiException.failure(SmError.VDI_UNAVAILABLE, "cannot close the export: " + e)
          .withCause(e);
    } finally {
      use.lock.unlock();
    }
  }

  public boolean isExported(String sr, String vdi) {
    return use(sr, vdi).export.isPresent();
  }

  /**
   * Copies a VDI that no VM writes onto a backend that reads as zeroes (or over one of the same
   * content), and flushes it. The backend stays open.
   *
   * @throws SmapiException VDI_TOO_SMALL, VDI_IN_USE, Cancelled
   */
  public void copy(String sr, String vdi, BlockBackend to, Progress progress)
      throws SmapiException {
    StorageRepository repository = repository(sr);
    VdiUse use = use(sr, vdi);
    use.lock.lock();
    try {
      if (use.isWritten()) {
        throw SmapiException.failure(SmError.VDI_IN_USE, "a domain writes the VDI");
      }
      use.beginCopy();
    } finally {
      use.lock.unlock();
    }
    try (BlockBackend from = repository.open(vdi, false)) {
      if (to.size() < from.size()) {
        throw SmapiException.backend(
            "VDI_TOO_SMALL", List.of(to.name(), String.valueOf(from.size())));
      }
      VolumeCopy.copy(vdi, from, to, progress);
    } catch (BlockException e) {
      throw SmapiException.backend("VDI_COPY_FAILED", List.of(String.valueOf(e.getMessage())))
          .withCause(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw SmapiException.cancelled(vdi).withCause(e);
    } finally {
      use.endCopy();
    }
  }

  private interface Body<T> {
    T run() throws SmapiException;
  }

  private <T> T exclusively(String sr, String vdi, Body<T> body) throws SmapiException {
    VdiUse use = use(sr, vdi);
    use.lock.lock();
    try {
      if (!use.isIdle()) {
        throw SmapiException.failure(SmError.VDI_IN_USE, "the VDI is in use");
      }
      return body.run();
    } finally {
      use.lock.unlock();
    }
  }

  private VdiUse use(String sr, String vdi) {
    return uses.computeIfAbsent(List.of(sr, vdi), k -> new VdiUse());
  }

  private void store(
      VdiUse use, String sr, String vdi, String dp, String domain, DatapathState wanted)
      throws SmapiException {
    try {
      state.putDatapath(sr, vdi, dp, domain, wanted);
    } catch (IOException e) {
      throw SmapiException.failure(SmError.METADATA, "cannot store the datapath: " + e)
          .withCause(e);
    }
    use.set(dp, domain, wanted);
  }
}
