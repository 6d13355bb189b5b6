package io.xenferry.server.session;

import io.xenferry.model.DataModel;
import io.xenferry.model.FieldDef;
import io.xenferry.model.MessageDef;
import io.xenferry.model.Roles;
import io.xenferry.model.Type;
import io.xenferry.model.Value;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.SequencedSet;
import java.util.concurrent.ConcurrentHashMap;

/**
 * What a call needs: a message, or one key of a map that a message adds to or removes from.
 *
 * <p>Setting a whole map needs the message's role, and leaves alone those keys that need a stronger
 * one than the caller has.
 *
 * @param name as clients see it: the message in lower case, {@code vm.add_to_other_config/key:pci}
 * @param roles who has it; nobody named means everybody
 */
public record Permission(String name, List<String> roles) {
  private static final Map<String, Value> OF_ROLES = new ConcurrentHashMap<>();

  /** Of the message whatever it is called with. */
  public static Permission of(MessageDef m) {
    return new Permission(m.wireName().toLowerCase(Locale.ROOT), m.roles());
  }

  /** Of a call: a key with a role of its own stands for the message. */
  public static Permission of(MessageDef m, List<Value> args) {
    if (args.size() > 1 && changesKeys(m) && args.get(1) instanceof Value.Text(String key)) {
      return ofKey(m, key).orElseGet(() -> of(m));
    }
    return of(m);
  }

  /** The key's own permission; a pattern ends in {@code *}, and the exact key goes before it. */
  private static Optional<Permission> ofKey(MessageDef m, String key) {
    Map<String, String> roles = m.field().map(FieldDef::keyRoles).orElse(Map.of());
    if (roles.containsKey(key)) {
      return Optional.of(key(m, key, Objects.requireNonNull(roles.get(key))));
    }
    return roles.entrySet().stream()
        .filter(e -> e.getKey().endsWith("*"))
        .filter(e -> key.startsWith(e.getKey().substring(0, e.getKey().length() - 1)))
        .findFirst()
        .map(e -> key(m, e.getKey(), e.getValue()));
  }

  private static Permission key(MessageDef m, String pattern, String role) {
    return new Permission(
        (m.wireName() + "/key:" + pattern).toLowerCase(Locale.ROOT), Roles.atLeast(role));
  }

  private static boolean changesKeys(MessageDef m) {
    MessageDef.Kind kind = DataModel.kindOf(m);
    return (kind == MessageDef.Kind.ADD || kind == MessageDef.Kind.REMOVE) && ofMap(m);
  }

  private static boolean ofMap(MessageDef m) {
    return m.field()
        .map(f -> f.type() instanceof Type.MapOf && !f.keyRoles().isEmpty())
        .orElse(false);
  }

  /** Whether the message sets a whole map of which some keys have roles of their own. */
  public static boolean setsKeys(MessageDef m) {
    return DataModel.kindOf(m) == MessageDef.Kind.SET && ofMap(m);
  }

  /**
   * What setting a map needs beside the message's own role: the keys of their own that it changes.
   */
  public static List<Permission> ofChange(
      MessageDef m, Map<String, Value> before, Map<String, Value> after) {
    SequencedSet<String> keys = new java.util.LinkedHashSet<>(before.keySet());
    keys.addAll(after.keySet());
    List<Permission> needed = new ArrayList<>();
    for (String key : keys) {
      if (!Objects.equals(before.get(key), after.get(key))) {
        ofKey(m, key).ifPresent(needed::add);
      }
    }
    return needed;
  }

  /** Who may do what: all permissions by name, keys' among them. */
  public static Map<String, List<String>> all() {
    Map<String, List<String>> all = new LinkedHashMap<>();
    for (var c : DataModel.classes()) {
      for (MessageDef m : c.messages()) {
        Permission whole = of(m);
        all.put(whole.name(), whole.roles());
        if (changesKeys(m)) {
          m.field()
              .orElseThrow()
              .keyRoles()
              .forEach((pattern, role) -> {
                Permission key = key(m, pattern, role);
                all.put(key.name(), key.roles());
              });
        }
      }
    }
    return all;
  }

  /** The names of a built-in role's permissions; always the same value for the same role. */
  public static Value ofRole(String role) {
    return OF_ROLES.computeIfAbsent(
        role,
        r ->
            Value.ofTexts(
                all().entrySet().stream()
                    .filter(e -> e.getValue().contains(r))
                    .map(Map.Entry::getKey)
                    .toList()));
  }

  /** The same of several roles together. */
  public static Value ofRoles(List<String> names) {
    return names.size() == 1
        ? ofRole(names.getFirst())
        : Value.ofTexts(
            all().entrySet().stream()
                .filter(e -> e.getValue().stream().anyMatch(names::contains))
                .map(Map.Entry::getKey)
                .toList());
  }

  boolean has(String role) {
    return roles.isEmpty() || roles.contains(role);
  }
}
