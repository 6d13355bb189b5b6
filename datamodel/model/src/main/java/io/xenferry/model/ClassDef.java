package io.xenferry.model;

import java.util.List;

/**
 * The facts of a class.
 *
 * @param name as on the wire: {@code VM}, {@code host}
 * @param inDatabase whether it has objects at all
 * @param events whether event.from tells of it
 * @param getAll whether get_all and get_all_records exist
 * @param constructible whether create and destroy exist, generated from the fields
 */
public record ClassDef(
    String name,
    boolean inDatabase,
    boolean events,
    boolean getAll,
    boolean constructible,
    List<FieldDef> fields,
    List<MessageDef> messages) {}
