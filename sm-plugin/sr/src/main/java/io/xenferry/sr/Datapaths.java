package io.xenferry.sr;

import java.io.IOException;
import java.util.List;
import java.util.Map;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Which domain may do what with which VDI: every datapath goes through {@link DatapathState} one
 * step at a time, and the back end is told only of changes of what all datapaths of a VDI together
 * demand. What is stored survives a restart of the server, as the guests do.
 */
final class Datapaths {
  private static final Logger LOG = LoggerFactory.getLogger(Datapaths.class);

  /** How long deactivating waits for copies: what a client waits for a VM.shutdown. */
  private static final long DRAIN_MILLIS = 150_000;

  private final VdiUses uses;
  private final StorageState state;
  private final Exports exports;

  /** Whether an export of a VDI is open. */
  interface Exports {
    boolean isOpen(String sr, String vdi);
  }

  Datapaths(VdiUses uses, StorageState state, Exports exports) throws SmapiException {
    this.uses = uses;
    this.state = state;
    this.exports = exports;
    for (StorageState.Stored s : state.datapaths()) {
      uses.locked(
          s.sr(),
          s.vdi(),
          use -> {
            use.set(s.dp(), s.domain(), s.state());
            return s;
          });
    }
  }

  /** Tells a back end that was just attached what guests of before a restart still have open. */
  void resume(StorageRepository repository) {
    for (StorageState.Stored s : state.datapaths()) {
      if (s.sr().equals(repository.sr()) && s.state().isAttached()) {
        try {
          repository.resumeVdi(s.vdi(), s.state().isWritable());
          if (s.state().isActivated()) {
            repository.activate(s.vdi(), s.state().isWritable());
          }
        } catch (SmapiException e) {
          LOG.warn(
              "SR {}: VDI {} was in use and is not to be had: {}", s.sr(), s.vdi(), e.toString());
        }
      }
    }
  }

  List<Implementation> attach(
      StorageRepository repository, String dp, String vdi, String domain, boolean writable)
      throws SmapiException {
    return uses.locked(
        repository.sr(),
        vdi,
        use -> {
          DatapathState now = use.of(dp);
          DatapathState wanted = DatapathState.attached(writable);
          if (use.isFilled()) {
            throw SmapiException.failure(SmError.VDI_IN_USE, "the VDI is being written");
          }
          if (now.isActivated() || now.isAttached() && writable && !now.isWritable()) {
            throw SmapiException.illegalTransition(now, wanted);
          }
          DatapathState others = use.superstateWithout(dp);
          if (writable && others.isAttached() && !others.isWritable()) {
            throw SmapiException.illegalTransition(others, wanted);
          }
          List<Implementation> answer = repository.attachVdi(vdi, writable);
          if (!now.isAttached()) {
            try {
              store(use, repository.sr(), vdi, dp, domain, wanted);
            } catch (SmapiException e) {
              if (!use.superstate().isAttached()) {
                undo(e, () -> repository.detachVdi(vdi));
              }
              throw e;
            }
          }
          return answer;
        });
  }

  private interface Step {
    void take() throws SmapiException;
  }

  /** What is not stored has not happened: nobody would ever end it. */
  private static void undo(SmapiException cause, Step step) {
    try {
      step.take();
    } catch (SmapiException e) {
      cause.addSuppressed(e);
    }
  }

  void activate(
      StorageRepository repository, String dp, String vdi, String domain, boolean onlyReading)
      throws SmapiException {
    uses.locked(
        repository.sr(),
        vdi,
        use -> {
          DatapathState now = use.of(dp);
          DatapathState wanted = DatapathState.activated(now.isWritable() && !onlyReading);
          if (!now.isAttached()) {
            throw SmapiException.illegalTransition(now, wanted);
          }
          if (now.isActivated()) {
            return now;
          }
          if (exports.isOpen(repository.sr(), vdi)) {
            throw SmapiException.failure(SmError.VDI_IN_USE, "an export of the VDI is open");
          }
          if (wanted.isWritable() && use.isCopied()) {
            throw SmapiException.failure(SmError.VDI_IN_USE, "the VDI is being copied");
          }
          boolean others = use.superstate().isActivated();
          boolean told = !others || wanted.isWritable() && !use.isWritten();
          if (told) {
            repository.activate(vdi, wanted.isWritable());
          }
          try {
            store(use, repository.sr(), vdi, dp, domain, wanted);
          } catch (SmapiException e) {
            if (told) {
              undo(e, () -> repository.deactivate(vdi));
            }
            if (told && others) {
              undo(e, () -> repository.activate(vdi, false));
            }
            throw e;
          }
          return wanted;
        });
  }

  /** Ends the use, once the copies of the VDI that are under way are done. */
  void deactivate(StorageRepository repository, String dp, String vdi) throws SmapiException {
    uses.locked(
        repository.sr(),
        vdi,
        use -> {
          if (!use.of(dp).isActivated()) {
            return use;
          }
          awaitCopies(use, dp);
          DatapathState now = use.of(dp);
          if (!now.isActivated()) {
            return use; // by another, while this one waited
          }
          boolean others = use.superstateWithout(dp).isActivated();
          if (!others || !use.isWrittenWithout(dp)) {
            repository.deactivate(vdi);
          }
          if (others && !use.isWrittenWithout(dp)) {
            repository.activate(vdi, false);
          }
          String domain = use.domains.getOrDefault(dp, "");
          store(use, repository.sr(), vdi, dp, domain, DatapathState.attached(now.isWritable()));
          return use;
        });
  }

  private static void awaitCopies(VdiUse use, String dp) throws SmapiException {
    try {
      if (!use.awaitCopies(DRAIN_MILLIS)) {
        throw SmapiException.failure(SmError.VDI_IN_USE, "a copy of the VDI does not end");
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw SmapiException.cancelled(dp).withCause(e);
    }
  }

  void detach(StorageRepository repository, String dp, String vdi) throws SmapiException {
    uses.locked(
        repository.sr(),
        vdi,
        use -> {
          DatapathState now = use.of(dp);
          if (now.isActivated()) {
            throw SmapiException.illegalTransition(now, DatapathState.DETACHED);
          }
          if (now.isAttached()) {
            if (!use.superstateWithout(dp).isAttached()) {
              repository.detachVdi(vdi);
            }
            store(use, repository.sr(), vdi, dp, "", DatapathState.DETACHED);
          }
          return use;
        });
  }

  /** Forgets a datapath without the back end's consent. */
  void forget(String dp, String sr, String vdi) throws SmapiException {
    uses.locked(
        sr,
        vdi,
        use -> {
          store(use, sr, vdi, dp, "", DatapathState.DETACHED);
          return use;
        });
  }

  Map<String, DatapathState> of(String sr, String vdi) {
    try {
      return uses.locked(sr, vdi, use -> Map.copyOf(use.datapaths));
    } catch (SmapiException e) {
      throw new IllegalStateException(e); // the body throws none
    }
  }

  /** All datapaths that are known, one line each. */
  List<String> describe() {
    return state.datapaths().stream()
        .map(s -> s.dp() + " " + s.sr() + "/" + s.vdi() + " " + s.state() + " " + s.domain())
        .sorted()
        .toList();
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
