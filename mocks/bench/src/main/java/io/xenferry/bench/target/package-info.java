/**
 * The embedded iSCSI target beside tgtd, with the same clients in the same run: what libiscsi's
 * tests say of each, and how many requests a second each answers. Nothing of ours is a client here.
 */
@NullMarked
package io.xenferry.bench.target;

import org.jspecify.annotations.NullMarked;
