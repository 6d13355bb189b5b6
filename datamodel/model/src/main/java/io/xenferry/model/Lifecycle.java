package io.xenferry.model;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/**
 * What became of a class, field or message over the releases.
 *
 * @param state where it stands today
 * @param transitions how it came there, oldest first
 */
public record Lifecycle(State state, List<Transition> transitions) {

  /** States, and the two transitions that leave the state as it is. */
  public enum State {
    PROTOTYPED,
    PUBLISHED,
    CHANGED,
    EXTENDED,
    DEPRECATED,
    REMOVED
  }

  /** Something that happened in a release, such as {@code tampa} or {@code 1.257.0}. */
  public record Transition(State to, String release) {}

  /** From the notation of the data model's XML: {@code "published:rio deprecated:tampa"}. */
  static Lifecycle parse(String history) {
    List<Transition> transitions = new ArrayList<>();
    State state = State.PUBLISHED;
    for (String t : history.split(" ")) {
      int colon = t.indexOf(':');
      State to = State.valueOf(t.substring(0, colon).toUpperCase(Locale.ROOT));
      transitions.add(new Transition(to, t.substring(colon + 1)));
      if (to != State.CHANGED && to != State.EXTENDED) {
        state = to;
      }
    }
    return new Lifecycle(state, List.copyOf(transitions));
  }

  /** Whether calls of it are refused with MESSAGE_REMOVED. */
  public boolean removed() {
    return state == State.REMOVED;
  }

  /** Whether it is deprecated but works. */
  public boolean deprecated() {
    return state == State.DEPRECATED;
  }

  /** The release of its first transition to the state, if it ever got there. */
  public Optional<String> since(State wanted) {
    return transitions.stream().filter(t -> t.to == wanted).map(Transition::release).findFirst();
  }
}
