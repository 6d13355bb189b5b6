package io.xenferry.migration.flow;

import io.xenferry.migration.gate.Gate;
import io.xenferry.migration.ledger.Ledger;
import io.xenferry.migration.peer.PeerAddress;
import io.xenferry.migration.peer.PeerClient;
import io.xenferry.migration.ports.DestinationPorts;
import io.xenferry.migration.ports.SourcePorts;
import io.xenferry.migration.state.Deadlines;
import io.xenferry.migration.state.MigrationListener;
import io.xenferry.migration.state.Randomness;
import io.xenferry.time.Scheduler;

/**
 * What all migrations of one host share.
 *
 * @param self how peers reach this server
 * @param boot names this boot of the host
 */
public record Host(
    Scheduler scheduler,
    Ledger ledger,
    Gate gate,
    Randomness random,
    Deadlines deadlines,
    SourcePorts source,
    DestinationPorts destination,
    PeerClient peers,
    PeerAddress self,
    String boot,
    MigrationListener listener) {}
