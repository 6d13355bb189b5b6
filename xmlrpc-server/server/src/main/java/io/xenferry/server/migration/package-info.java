/**
 * Where the migration coordinator meets this host: its ports on the hypervisor, the SR drivers, the
 * iSCSI target service, the database and the peers' HTTP. Decides nothing about ownership.
 */
@NullMarked
package io.xenferry.server.migration;

import org.jspecify.annotations.NullMarked;
