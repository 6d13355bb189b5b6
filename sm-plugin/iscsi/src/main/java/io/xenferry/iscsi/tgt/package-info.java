/**
 * The target service on the Linux SCSI target framework: tgtd, commanded through tgtadm, with a
 * watchdog that brings back what its death took. Only here is tgtadm known.
 */
@NullMarked
package io.xenferry.iscsi.tgt;

import org.jspecify.annotations.NullMarked;
