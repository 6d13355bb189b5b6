package io.xenferry.server.event;

import io.xenferry.model.Value;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.SequencedMap;

/**
 * An object of the class {@code message}: what somebody has to say of another object.
 *
 * @param of the word for the object's class
 * @param object its uuid
 * @param generation when it came, in the numbers of {@link Alerts}
 */
public record Alert(
    String ref,
    String uuid,
    String name,
    long priority,
    String of,
    String object,
    Instant timestamp,
    String body,
    long generation) {

  /** As get_record and events have it. */
  public Value.Struct record() {
    SequencedMap<String, Value> members = new LinkedHashMap<>();
    members.put("uuid", Value.of(uuid));
    members.put("name", Value.of(name));
    members.put("priority", Value.of(priority));
    members.put("cls", Value.of(of));
    members.put("obj_uuid", Value.of(object));
    members.put("timestamp", Value.of(timestamp));
    members.put("body", Value.of(body));
    return new Value.Struct(members);
  }

  /** Roughly what it takes in memory. */
  int size() {
    return 512 + 2 * (name.length() + body.length());
  }
}
