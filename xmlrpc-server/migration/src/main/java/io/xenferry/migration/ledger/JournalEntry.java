package io.xenferry.migration.ledger;

import io.xenferry.migration.state.MigrationId;

/**
 * Something that is being or has been created for a migration: written before the effect, removed
 * after the object is known to be gone or has become the VM's own.
 *
 * @param name what finds the object: a VM's or VDI's uuid, an export's or account's name
 * @param detail what else its removal needs, for example the VDI behind an export
 */
public record JournalEntry(
    MigrationId migration, Kind kind, String name, String detail, Standing standing) {

  /** In the order in which clean-up goes: the disks last. */
  public enum Kind {
    GUEST,
    EXPORT,
    ACCOUNT,
    VM,
    VDI
  }

  /** Whether an export may exist. Other kinds are OPEN until they are removed. */
  public enum Standing {
    OPEN,
    CLOSED
  }
}
