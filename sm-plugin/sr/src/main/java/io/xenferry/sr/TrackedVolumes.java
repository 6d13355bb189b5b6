package io.xenferry.sr;

import java.io.IOException;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;

/** What a repository's volumes have written since their snapshots. */
final class TrackedVolumes {
  private final Volumes volumes;
  private final VolumeStore store;
  private final VolumeBooks books;

  TrackedVolumes(Volumes volumes) {
    this.volumes = volumes;
    this.store = volumes.store;
    this.books = volumes.books;
  }

  private BlockTracking tracking(String call, String vdi) throws SmapiException, IOException {
    volumes.requireStill(vdi);
    if (volumes.layering.isEmpty() || !volumes.layering.get().chains().isLayered(vdi)) {
      throw SmapiException.unimplemented(call);
    }
    return volumes.layering.get().tracking();
  }

  void enableCbt(String vdi) throws SmapiException {
    volumes.locked(
        SmError.METADATA,
        () -> {
          tracking("VDI.enable_cbt", vdi).enable(vdi);
          return vdi;
        });
  }

  void disableCbt(String vdi) throws SmapiException {
    volumes.locked(
        SmError.METADATA,
        () -> {
          tracking("VDI.disable_cbt", vdi).disable(vdi);
          volumes.wakeMerging();
          return vdi;
        });
  }

  String listChangedBlocks(String from, String to) throws SmapiException {
    return volumes.locked(
        SmError.CBT_CHANGED_BLOCKS,
        () -> {
          books.require(from);
          BlockTracking tracking = tracking("VDI.list_changed_blocks", to);
          if (volumes.written.contains(to)) {
            throw SmapiException.failure(SmError.VDI_IN_USE, "a VM writes the disk");
          }
          return tracking.between(from, to);
        });
  }

  Optional<ChangedBlocks> notedChanges(String vdi, Set<String> ends) throws SmapiException {
    return volumes.locked(
        SmError.CBT_CHANGED_BLOCKS,
        () -> {
          books.require(vdi);
          return volumes.layering.isPresent() && volumes.layering.get().tracking().isTracked(vdi)
              ? Optional.of(volumes.layering.get().tracking().noted(vdi, ends))
              : Optional.empty();
        });
  }

  boolean takeUpChanges(String vdi, ChangedBlocks noted) throws SmapiException {
    return volumes.locked(
        SmError.METADATA,
        () -> {
          volumes.requireStill(vdi);
          if (volumes.layering.isEmpty() || !volumes.layering.get().chains().isLayered(vdi)) {
            return false;
          }
          volumes.layering.get().tracking().takeUp(vdi, noted);
          return true;
        });
  }

  void dataDestroy(String vdi) throws SmapiException {
    volumes.locked(
        SmError.VDI_DELETE,
        () -> {
          BlockTracking tracking = tracking("VDI.data_destroy", vdi);
          if (volumes.isBusy(vdi)) {
            throw SmapiException.failure(SmError.VDI_IN_USE, "the VDI is in use");
          }
          VdiInfo info = books.info(vdi);
          if (!info.isASnapshot() || !tracking.isTracked(vdi)) {
            throw SmapiException.backend("VDI_NO_CBT_METADATA", List.of(vdi));
          }
          books.save(
              info.edit()
                  .type(VdiInfo.CBT_METADATA)
                  .contentId(UUID.randomUUID().toString())
                  .done());
          volumes.layering.orElseThrow().chains().empty(vdi);
          volumes.wakeMerging();
          return vdi;
        });
  }
}
