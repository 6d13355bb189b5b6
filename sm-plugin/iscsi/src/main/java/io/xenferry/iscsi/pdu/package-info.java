/**
 * iSCSI protocol data units (RFC 7143) as records, their 48-byte headers, and the text of login and
 * discovery. The only room that knows the header codec library; no sockets and no sessions here.
 */
@NullMarked
package io.xenferry.iscsi.pdu;

import org.jspecify.annotations.NullMarked;
