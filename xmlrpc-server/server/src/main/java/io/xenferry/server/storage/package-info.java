/**
 * Storage of this host: SR drivers, the disks of VMs and their exports, kept in step with the SR,
 * PBD and VDI records. Knows no migration and no hypervisor.
 */
@NullMarked
package io.xenferry.server.storage;

import org.jspecify.annotations.NullMarked;
