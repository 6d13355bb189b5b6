/**
 * The copy engine and the write-ordering point: moves the disk that is being written to a block
 * backend elsewhere. Knows block backends and ranges, and no VM, plan or peer.
 */
@NullMarked
package io.xenferry.copy;

import org.jspecify.annotations.NullMarked;
