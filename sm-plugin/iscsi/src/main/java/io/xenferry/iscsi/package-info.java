/**
 * What both ends of iSCSI share: the URL that names a logical unit. Initiator, targets and the wire
 * have rooms of their own below; nothing here knows of a VM or an SR.
 */
@NullMarked
package io.xenferry.iscsi;

import org.jspecify.annotations.NullMarked;
