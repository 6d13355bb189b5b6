package io.xenferry.server.session;

import java.time.Instant;
import java.util.Comparator;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.TreeSet;

/**
 * The sessions of one owner, to find the one that was not used for longest. Thread-safe.
 *
 * <p>They lie in the order of when they were used as it was last looked at, so that a call need not
 * move its session: the first that was not used since is the oldest of all.
 */
final class OwnersSessions {
  private record Place(Instant noted, LiveSession session) {
    String ref() {
      return session.session.ref();
    }
  }

  private final TreeSet<Place> places =
      new TreeSet<>(Comparator.comparing(Place::noted).thenComparing(Place::ref));

  private final Map<String, Place> byRef = new HashMap<>();

  synchronized void add(LiveSession opened) {
    Place place = new Place(opened.active, opened);
    byRef.put(place.ref(), place);
    places.add(place);
  }

  /** Whether others are left. */
  synchronized boolean remove(LiveSession ended) {
    Place place = byRef.remove(ended.session.ref());
    if (place != null) {
      places.remove(place);
    }
    return !places.isEmpty();
  }

  /** Takes the oldest one out, if there are more than the limit: whoever asks next gets another. */
  synchronized Optional<LiveSession> beyond(int limit) {
    while (places.size() > limit) {
      Place oldest = places.removeFirst();
      LiveSession first = oldest.session();
      if (!first.active.isAfter(oldest.noted())) {
        byRef.remove(oldest.ref());
        return Optional.of(first);
      }
      add(first);
    }
    return Optional.empty();
  }
}
