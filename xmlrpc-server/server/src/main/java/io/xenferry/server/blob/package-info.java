/** Blobs: files that clients keep with the pool, a host, a VM, an SR or a network. */
@NullMarked
package io.xenferry.server.blob;

import org.jspecify.annotations.NullMarked;
