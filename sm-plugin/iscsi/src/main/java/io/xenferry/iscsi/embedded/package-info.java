/**
 * The target service in Java: serves any block backend over iSCSI from within this process, for
 * machines without tgtd and for backends that are no files. Small, but sound against junk.
 */
@NullMarked
package io.xenferry.iscsi.embedded;

import org.jspecify.annotations.NullMarked;
