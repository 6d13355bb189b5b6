/** Programs of the administrator's, called by clients. Knows calls, and nothing of VMs or disks. */
@NullMarked
package io.xenferry.server.plugin;

import org.jspecify.annotations.NullMarked;
