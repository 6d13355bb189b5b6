/**
 * SCSI as far as a disk needs it (SPC-4, SBC-3): command descriptor blocks, sense data, status
 * codes. Pure bytes: no transport here.
 */
@NullMarked
package io.xenferry.iscsi.scsi;

import org.jspecify.annotations.NullMarked;
