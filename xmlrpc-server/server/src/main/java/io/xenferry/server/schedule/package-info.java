/** Snapshots that VMs get at times that a schedule says (the class VMSS). */
@NullMarked
package io.xenferry.server.schedule;

import org.jspecify.annotations.NullMarked;
