/**
 * A process of its own that cuts a guest off from a server that has stopped. It uses nothing but
 * the JDK, so that it starts quickly and stays small.
 */
@NullMarked
package io.xenferry.qemu.watchdog;

import org.jspecify.annotations.NullMarked;
