/**
 * The VMs of this host: their life cycle, what may be done with them when, and what the hypervisor
 * is told of them. Every start and resume passes the gate. No wire format, no storage driver.
 */
@NullMarked
package io.xenferry.server.vm;

import org.jspecify.annotations.NullMarked;
