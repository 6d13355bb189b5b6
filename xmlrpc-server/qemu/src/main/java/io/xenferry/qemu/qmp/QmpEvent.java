package io.xenferry.qemu.qmp;

import com.fasterxml.jackson.databind.JsonNode;

/**
 * Something that the peer did of its own accord.
 *
 * @param name for example {@code STOP}
 * @param payload the event's own object; empty where it has none
 */
public record QmpEvent(String name, JsonNode payload) {}
