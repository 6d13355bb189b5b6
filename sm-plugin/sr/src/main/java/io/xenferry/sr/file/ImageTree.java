package io.xenferry.sr.file;

import io.xenferry.sr.AtomicFile;
import io.xenferry.sr.StorageRepository.GuestMerge;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.UUID;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Which image is which volume's. A volume that was never snapshot is the image of its own name, and
 * not in here; the others and all their images are in one small file, so that what belongs together
 * changes together. Which image is below which only the images' headers say.
 *
 * <p>The states of an image, each written before what it announces:
 *
 * <pre>
 *  making       being made, nobody's: removed after a crash
 *  switching V  made, V's guest may be on it: after a crash V is, unless somebody writes the old one
 *  ready
 *  merged P     everything of it is in P: after a crash it is made to vanish in favour of P
 *  joining V    V's guest writes it into the one below: after a crash it is ready
 *  joined V     everything of it is in the one below, and V's guest goes on without it: after a crash
 *               it vanishes, but a guest that is still there is asked first
 *  dropping     nobody's: removed after a crash
 * </pre>
 */
final class ImageTree {
  private static final Logger log = LoggerFactory.getLogger(ImageTree.class);
  static final String FILE = "images.meta";
  private static final String VOLUME = "vdi.";
  private static final String IMAGE = "image.";
  private static final String MAKING = "making";
  private static final String SWITCHING = "switching ";
  private static final String READY = "ready";
  private static final String MERGED = "merged ";
  private static final String JOINING = "joining ";
  private static final String JOINED = "joined ";
  private static final String DROPPING = "dropping";

  private final Path directory;
  private final Map<String, String> entries = new TreeMap<>();
  private final Map<String, String> below = new HashMap<>();

  private ImageTree(Path directory) {
    this.directory = directory;
  }

  /** Reads the tree and ends what a crash cut short. */
  static ImageTree open(Path directory) throws IOException {
    ImageTree tree = new ImageTree(directory);
    tree.entries.putAll(AtomicFile.read(directory.resolve(FILE)));
    for (String image : tree.images()) {
      // What is nobody's goes, and may have no header yet: its maker was killed in the middle.
      if (!tree.isNobodys(image)) {
        tree.learn(image);
      }
    }
    for (String image : tree.images()) {
      tree.repair(image);
    }
    return tree;
  }

  private void learn(String image) throws IOException {
    below.remove(image);
    if (format(image) == ImageFormat.QCOW2 && Files.exists(file(image))) {
      Optional<String> name = QcowHeader.read(file(image)).backing();
      if (name.isPresent()) {
        String lower = withoutSuffix(name.get());
        if (!entries.containsKey(IMAGE + lower)) {
          throw new IOException(file(image) + " rests on " + name.get() + ", which is not ours");
        }
        below.put(image, lower);
      }
    }
  }

  private static String withoutSuffix(String name) {
    int dot = name.lastIndexOf('.');
    return dot < 0 ? name : name.substring(0, dot);
  }

  private void repair(String image) throws IOException {
    String state = entries.getOrDefault(IMAGE + image, READY);
    if (isNobodys(image)) {
      log.info("image {} was left {}: removed", image, state);
      removeFile(image);
    } else if (state.startsWith(SWITCHING)) {
      String volume = state.substring(SWITCHING.length());
      if (FileLocks.isWritten(file(imageOf(volume)))) {
        log.info("VDI {} is still on its old image: {} is removed", volume, image);
        removeFile(image);
      } else {
        log.info("VDI {} goes on with image {}", volume, image);
        entries.put(VOLUME + volume, image);
        entries.put(IMAGE + image, READY);
        save();
      }
    } else if (state.startsWith(MERGED)) {
      vanish(image, state.substring(MERGED.length()));
    } else if (joiner(image).isPresent() && !isHeldByGuest(image)) {
      log.info("image {} was left {}: no guest is there any more", image, state);
      endJoin(image, state.startsWith(JOINED));
    }
  }

  private boolean isNobodys(String image) {
    String state = entries.getOrDefault(IMAGE + image, READY);
    return state.equals(MAKING) || state.equals(DROPPING);
  }

  private boolean isHeldByGuest(String image) throws IOException {
    Optional<String> lower = below(image);
    return FileLocks.isWritten(file(imageOf(joiner(image).orElseThrow())))
        || lower.isPresent() && FileLocks.isWritten(file(lower.get()));
  }

  // ---- what there is

  Path file(String image) {
    return directory.resolve(image + format(image).suffix());
  }

  /** By the name that the file has; qcow2 if there is none. */
  ImageFormat format(String image) {
    return Files.exists(directory.resolve(image + ImageFormat.RAW.suffix()))
        ? ImageFormat.RAW
        : ImageFormat.QCOW2;
  }

  /** The image of a volume, if the volume exists. */
  String imageOf(String volume) {
    return entries.getOrDefault(VOLUME + volume, volume);
  }

  /** Whether the volume or the image is in here at all. */
  boolean holds(String volume) {
    return entries.containsKey(VOLUME + volume);
  }

  /** Whether the volume is the image of its own name, and not in here yet. */
  boolean isPlain(String volume) {
    return !holds(volume) && !isImage(volume) && Files.exists(file(volume));
  }

  boolean isImage(String image) {
    return entries.containsKey(IMAGE + image);
  }

  Optional<String> below(String image) {
    return Optional.ofNullable(below.get(image));
  }

  Set<String> above(String image) {
    Set<String> above = new TreeSet<>();
    below.forEach((upper, lower) -> {
      if (lower.equals(image)) {
        above.add(upper);
      }
    });
    return above;
  }

  /** The volumes whose own image it is. */
  Set<String> volumesOf(String image) {
    Set<String> volumes = new TreeSet<>();
    entries.forEach((key, value) -> {
      if (key.startsWith(VOLUME) && value.equals(image)) {
        volumes.add(key.substring(VOLUME.length()));
      }
    });
    return volumes;
  }

  /** The volumes that show something of the image. */
  Set<String> volumesOn(String image) {
    Set<String> volumes = volumesOf(image);
    above(image).forEach(upper -> volumes.addAll(volumesOn(upper)));
    return volumes;
  }

  List<String> images() {
    return entries.keySet().stream()
        .filter(key -> key.startsWith(IMAGE))
        .map(key -> key.substring(IMAGE.length()))
        .toList();
  }

  boolean isReady(String image) {
    return READY.equals(entries.get(IMAGE + image));
  }

  /** The volume under whose guest the image becomes one with that below it. */
  Optional<String> joiner(String image) {
    String state = entries.getOrDefault(IMAGE + image, READY);
    return state.startsWith(JOINING)
        ? Optional.of(state.substring(JOINING.length()))
        : state.startsWith(JOINED)
            ? Optional.of(state.substring(JOINED.length()))
            : Optional.empty();
  }

  /** Of one that has a {@link #joiner}: whether everything of it is in the one below. */
  boolean isJoined(String image) {
    return entries.getOrDefault(IMAGE + image, READY).startsWith(JOINED);
  }

  long size(String image) throws IOException {
    Path file = file(image);
    if (format(image) == ImageFormat.RAW) {
      return Files.size(file);
    }
    QcowHeader header = QcowHeader.read(file);
    if (header.backing().isPresent() && !isImage(image)) {
      throw new IOException(file + " rests on " + header.backing().get() + ", which is not ours");
    }
    return header.size();
  }

  // ---- changes

  /**
   * Makes an empty image on top of another.
   *
   * @param switching the volume that is to go on with it; empty if nobody writes meanwhile
   */
  String grow(String lower, Optional<String> switching, long size) throws IOException {
    String image = UUID.randomUUID().toString();
    entries.put(IMAGE + image, MAKING);
    save();
    try {
      Path file = directory.resolve(image + ImageFormat.QCOW2.suffix());
      QemuImg.createOn(file, file(lower), format(lower), size);
      AtomicFile.syncDirectory(directory);
      below.put(image, lower);
      if (switching.isPresent()) {
        entries.put(IMAGE + image, SWITCHING + switching.get());
        save();
      }
      return image;
    } catch (IOException e) {
      discard(image);
      throw e;
    }
  }

  /** Makes an empty image that rests on nothing. */
  String alone(long size) throws IOException {
    String image = UUID.randomUUID().toString();
    entries.put(IMAGE + image, MAKING);
    save();
    try {
      QemuImg.create(directory.resolve(image + ImageFormat.QCOW2.suffix()), size);
      AtomicFile.syncDirectory(directory);
      return image;
    } catch (IOException e) {
      discard(image);
      throw e;
    }
  }

  /** Takes a volume that is the image of its own name in here; durable with the next change. */
  void adopt(String volume) {
    if (!holds(volume)) {
      entries.put(VOLUME + volume, volume);
      entries.put(IMAGE + volume, READY);
    }
  }

  /** Gives volumes their images, all at once; the images are ready then. */
  void assign(Map<String, String> images) throws IOException {
    Map<String, String> before = new TreeMap<>(entries);
    images.forEach((volume, image) -> {
      entries.put(VOLUME + volume, image);
      entries.put(IMAGE + image, READY);
    });
    try {
      save();
    } catch (IOException e) {
      entries.clear();
      entries.putAll(before);
      throw e;
    }
  }

  /**
   * Removes an image that was made for nothing; what cannot be removed now is at the next start.
   */
  void discard(String image) {
    try {
      entries.put(IMAGE + image, DROPPING);
      save();
      removeFile(image);
    } catch (IOException e) {
      log.warn("image {} cannot be removed now", image, e);
    }
  }

  /** Forgets a volume, and removes the images that then are nobody's. */
  void forget(String volume) throws IOException {
    String image = imageOf(volume);
    entries.remove(VOLUME + volume);
    if (isOrphan(image)) {
      entries.put(IMAGE + image, DROPPING);
    }
    save();
    prune(image);
  }

  /** Removes an image if it is nobody's, and then the one below it, and so on. */
  void prune(String image) throws IOException {
    Optional<String> at = Optional.of(image);
    while (at.isPresent() && isOrphan(at.get())) {
      Optional<String> lower = below(at.get());
      entries.put(IMAGE + at.get(), DROPPING);
      save();
      removeFile(at.get());
      at = lower;
    }
  }

  private boolean isOrphan(String image) {
    return isImage(image) && volumesOf(image).isEmpty() && above(image).isEmpty();
  }

  /** Everything of the image is in the one below: it is no longer needed. */
  void merged(String image) throws IOException {
    String lower = below(image).orElseThrow();
    entries.put(IMAGE + image, MERGED + lower);
    save();
    vanish(image, lower);
  }

  /** The guest of a volume is to write the image into the one below. */
  void beginJoin(String image, String volume) throws IOException {
    change(image, JOINING + volume);
  }

  /** Everything of the image is in the one below, for good, and nothing has been written since. */
  void joined(String image) throws IOException {
    change(image, JOINED + joiner(image).orElseThrow());
  }

  /** What {@link #joined} writes. */
  GuestMerge.Decision decision(String image, String volume) {
    return new GuestMerge.Decision(directory.resolve(FILE), IMAGE + image, JOINED + volume);
  }

  private void change(String image, String state) throws IOException {
    String before = entries.put(IMAGE + image, state);
    try {
      save();
    } catch (IOException e) {
      entries.put(IMAGE + image, before == null ? READY : before);
      throw e;
    }
  }

  /**
   * No guest is at it any more.
   *
   * @param gone whether the image is superfluous, and no guest has it open
   */
  void endJoin(String image, boolean gone) throws IOException {
    if (!gone) {
      change(image, READY);
      return;
    }
    String lower =
        below(image).orElseThrow(() -> new IOException(file(image) + " rests on nothing"));
    for (String upper : above(image)) {
      // The guest has said in its header what is below it now.
      QemuImg.sync(file(upper));
      learn(upper);
    }
    vanish(image, lower);
  }

  private void vanish(String image, String lower) throws IOException {
    for (String upper : above(image)) {
      QemuImg.rebase(file(upper), file(lower), format(lower));
      below.put(upper, lower);
    }
    for (String volume : volumesOf(image)) {
      entries.put(VOLUME + volume, lower);
    }
    entries.put(IMAGE + image, DROPPING);
    save();
    removeFile(image);
  }

  private void removeFile(String image) throws IOException {
    Files.deleteIfExists(directory.resolve(image + ImageFormat.QCOW2.suffix()));
    Files.deleteIfExists(directory.resolve(image + ImageFormat.RAW.suffix()));
    AtomicFile.syncDirectory(directory);
    below.remove(image);
    entries.remove(IMAGE + image);
    save();
  }

  private void save() throws IOException {
    AtomicFile.write(directory.resolve(FILE), entries);
  }
}
