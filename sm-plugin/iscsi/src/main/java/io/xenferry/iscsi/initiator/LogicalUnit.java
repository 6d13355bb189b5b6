package io.xenferry.iscsi.initiator;

import io.xenferry.iscsi.scsi.Identity;
import java.util.OptionalLong;

/**
 * A logical unit as a look at its target finds it.
 *
 * @param lun 0–16383
 * @param size bytes; empty for what is no disk, or tells nothing sensible
 */
public record LogicalUnit(int lun, Identity identity, OptionalLong size) {}
