package io.xenferry.sr.file;

import io.xenferry.block.Range;
import io.xenferry.sr.StorageRepository.GuestMerge;
import io.xenferry.sr.VdiInfo;
import io.xenferry.sr.VolumeChains;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The chains of qcow2 images of an SR. */
final class LayeredImages implements VolumeChains {
  /** An extent as {@code qemu-img map} prints it; depth 0 is the image itself. */
  private static final Pattern EXTENT =
      Pattern.compile(
          "\\{ *\"start\": (\\d+), \"length\": (\\d+), \"depth\": (\\d+), \"present\": (true|false)");

  private final ImageTree tree;

  LayeredImages(ImageTree tree) {
    this.tree = tree;
  }

  @Override
  public boolean isLayered(String key) {
    return tree.format(tree.imageOf(key)) == ImageFormat.QCOW2;
  }

  @Override
  public boolean isWritable(String key) {
    return !tree.holds(key)
        || tree.volumesOf(tree.imageOf(key)).size() == 1 && tree.above(tree.imageOf(key)).isEmpty();
  }

  @Override
  public Layer begin(String key) throws IOException {
    tree.adopt(key);
    String before = tree.imageOf(key);
    String after = tree.grow(before, Optional.of(key), tree.size(before));
    return new Layer(key, before, after, tree.file(before), tree.file(after));
  }

  @Override
  public void commit(Layer layer, Optional<String> other) throws IOException {
    Map<String, String> images = new TreeMap<>(Map.of(layer.key(), layer.after()));
    other.ifPresent(key -> images.put(key, layer.before()));
    tree.assign(images);
  }

  @Override
  public void abandon(Layer layer) {
    tree.discard(layer.after());
  }

  @Override
  public void branch(String key, String shown, long size) throws IOException {
    tree.adopt(shown);
    if (tree.isPlain(key)) {
      tree.adopt(key); // its own image goes
    }
    Optional<String> before = tree.holds(key) ? Optional.of(tree.imageOf(key)) : Optional.empty();
    String image = tree.grow(tree.imageOf(shown), Optional.empty(), size);
    try {
      tree.assign(Map.of(key, image));
    } catch (IOException e) {
      tree.discard(image);
      throw e;
    }
    if (before.isPresent()) {
      tree.prune(before.get());
    }
  }

  @Override
  public List<String> below(String key) {
    List<String> volumes = new ArrayList<>();
    for (Optional<String> at = tree.below(tree.imageOf(key));
        at.isPresent();
        at = tree.below(at.get())) {
      volumes.addAll(tree.volumesOf(at.get()));
    }
    return volumes;
  }

  @Override
  public int depth(String key) {
    int images = 1;
    for (Optional<String> at = tree.below(tree.imageOf(key));
        at.isPresent();
        at = tree.below(at.get())) {
      images++;
    }
    return images;
  }

  @Override
  public int distance(String key, String lower) throws IOException {
    int layers = 0;
    String end = tree.imageOf(lower);
    Optional<String> at = Optional.of(tree.imageOf(key));
    while (at.isPresent() && !at.get().equals(end)) {
      layers++;
      at = tree.below(at.get());
    }
    if (at.isEmpty()) {
      throw new IOException(key + " does not rest on " + lower);
    }
    return layers;
  }

  @Override
  public List<Range> changes(String key, String since) throws IOException {
    return held(tree.imageOf(key), distance(key, since));
  }

  /** What so many images hold, from one on downwards. */
  private List<Range> held(String image, int layers) throws IOException {
    List<Range> ranges = new ArrayList<>();
    Matcher entry = EXTENT.matcher(QemuImg.map(tree.file(image), tree.format(image)));
    while (entry.find()) {
      if (Integer.parseInt(entry.group(3)) < layers && Boolean.parseBoolean(entry.group(4))) {
        add(ranges, Long.parseLong(entry.group(1)), Long.parseLong(entry.group(2)));
      }
    }
    return ranges;
  }

  @Override
  public List<Range> own(String key) throws IOException {
    return held(tree.imageOf(key), 1);
  }

  @Override
  public String image(String key) {
    return tree.imageOf(key);
  }

  @Override
  public Optional<List<Range>> downTo(String key, String image) throws IOException {
    Optional<String> first = tree.below(tree.imageOf(key));
    int layers = 0;
    for (Optional<String> at = first; at.isPresent(); at = tree.below(at.get())) {
      layers++;
      if (at.get().equals(image)) {
        return Optional.of(held(first.get(), layers));
      }
    }
    return Optional.empty();
  }

  @Override
  public void empty(String key) throws IOException {
    tree.adopt(key);
    String before = tree.imageOf(key);
    tree.assign(Map.of(key, tree.alone(tree.size(before))));
    tree.prune(before);
  }

  private static void add(List<Range> ranges, long offset, long length) {
    if (!ranges.isEmpty() && ranges.getLast().end() == offset) {
      Range last = ranges.removeLast();
      ranges.add(new Range(last.offset(), last.length() + length));
    } else {
      ranges.add(new Range(offset, length));
    }
  }

  @Override
  public Optional<Merge> beginMerge(Predicate<String> used, Predicate<String> pinned)
      throws IOException {
    for (String lower : tree.images()) {
      if (!tree.isReady(lower) || !tree.volumesOf(lower).isEmpty()) {
        continue;
      }
      Set<String> above = tree.above(lower);
      if (above.isEmpty()) {
        tree.prune(lower);
      } else if (above.size() == 1) {
        String upper = above.iterator().next();
        Set<String> volumes = tree.volumesOn(upper);
        if (tree.isReady(upper)
            && volumes.stream().noneMatch(used)
            && tree.volumesOf(upper).stream().noneMatch(pinned)) {
          return Optional.of(new Commit(upper, volumes));
        }
      }
    }
    return Optional.empty();
  }

  /** Writes the upper image's own clusters into the lower one, which nobody else shows. */
  private final class Commit implements Merge {
    private final String upper;
    private final Set<String> volumes;
    private final Path lower;
    private final QemuImg.Running work;

    Commit(String upper, Set<String> volumes) {
      this.upper = upper;
      this.volumes = volumes;
      this.lower = tree.file(tree.below(upper).orElseThrow());
      this.work = QemuImg.commit(tree.file(upper));
    }

    @Override
    public Set<String> volumes() {
      return volumes;
    }

    @Override
    public void run() throws IOException {
      work.run();
      QemuImg.sync(lower);
    }

    @Override
    public void cancel() {
      work.cancel();
    }

    @Override
    public void finish() throws IOException {
      tree.merged(upper);
    }
  }

  @Override
  public Optional<Join> beginJoin(String key, Predicate<String> used, boolean pinned)
      throws IOException {
    List<String> chain = new ArrayList<>(List.of(tree.imageOf(key)));
    for (Optional<String> at = tree.below(chain.getLast());
        at.isPresent();
        at = tree.below(at.get())) {
      chain.add(at.get());
    }
    // The volume's own last: until then what it writes is not written twice.
    for (int place = chain.size() - 2; place >= 0; place--) {
      String upper = chain.get(place);
      if (canJoin(upper, chain.get(place + 1))
          && (place > 0 || !pinned)
          && tree.volumesOn(upper).stream().allMatch(on -> on.equals(key) || !used.test(on))) {
        tree.beginJoin(upper, key);
        return Optional.of(new GuestJoin(upper, key));
      }
    }
    return Optional.empty();
  }

  private boolean canJoin(String upper, String lower) {
    return tree.isReady(upper)
        && tree.isReady(lower)
        && tree.volumesOf(lower).isEmpty()
        && tree.above(lower).size() == 1
        && tree.format(lower) == ImageFormat.QCOW2;
  }

  @Override
  public List<Join> unsettledJoins() {
    List<Join> found = new ArrayList<>();
    for (String image : tree.images()) {
      Optional<String> volume = tree.joiner(image);
      if (volume.isPresent() && tree.below(image).isPresent()) {
        found.add(new GuestJoin(image, volume.get()));
      }
    }
    return found;
  }

  /** See {@link ImageTree} for what is written down when. */
  private final class GuestJoin implements Join {
    private final String image;
    private final String volume;
    private final Set<String> volumes;
    private final Path upper;
    private final Path lower;
    private final boolean own;

    GuestJoin(String image, String volume) {
      this.image = image;
      this.volume = volume;
      this.volumes = Set.copyOf(tree.volumesOn(image));
      this.upper = tree.file(image);
      this.lower = tree.file(tree.below(image).orElseThrow());
      this.own = tree.imageOf(volume).equals(image);
    }

    @Override
    public String volume() {
      return volume;
    }

    @Override
    public Set<String> volumes() {
      return volumes;
    }

    @Override
    public Path upper() {
      return upper;
    }

    @Override
    public Path lower() {
      return lower;
    }

    @Override
    public boolean isOwn() {
      return own;
    }

    @Override
    public boolean isDecided() {
      return tree.isJoined(image);
    }

    @Override
    public GuestMerge.Decision decision() {
      return tree.decision(image, volume);
    }

    @Override
    public void decide() throws IOException {
      tree.joined(image);
    }

    @Override
    public void finish() throws IOException {
      tree.endJoin(image, true);
    }

    @Override
    public void undo() throws IOException {
      tree.endJoin(image, false);
    }
  }

  @Override
  public Map<String, String> describe(String key) throws IOException {
    Map<String, String> shown = new TreeMap<>();
    String image = tree.imageOf(key);
    if (tree.format(image) == ImageFormat.QCOW2) {
      shown.put(VdiInfo.SM_CONFIG_FORMAT, ImageFormat.QCOW2.word());
    }
    tree.below(image).ifPresent(lower -> shown.put(VdiInfo.SM_CONFIG_PARENT, lower));
    return shown;
  }
}
