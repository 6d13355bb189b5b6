/**
 * The ledger: who owns which VM, durably, and what has been created for a migration. Knows rows and
 * transactions, and no guest, disk or peer.
 */
@NullMarked
package io.xenferry.migration.ledger;

import org.jspecify.annotations.NullMarked;
