/**
 * The seeded simulation: two hosts, a network, disks, guests and clients on virtual time, with
 * faults everywhere, around the coordinator, ledger rules, gate, peers' protocol and copy engine of
 * the product. Its invariants read the simulated guests and disks.
 */
@NullMarked
package io.xenferry.simulation;

import org.jspecify.annotations.NullMarked;
