/**
 * What an iSCSI target is asked to do, whoever does it: exports, their durable journal, and the
 * service interface. No implementation here.
 */
@NullMarked
package io.xenferry.iscsi.target;

import org.jspecify.annotations.NullMarked;
