/**
 * What the server's parts need of each other and of the world: the hypervisor with its guests, and
 * a caller of the XenAPI. Interfaces and their small records only.
 */
@NullMarked
package io.xenferry.spi;

import org.jspecify.annotations.NullMarked;
