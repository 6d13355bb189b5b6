/**
 * Storage repositories at the level of SMAPIv2: drivers, the mux with its datapath states and
 * exports, and the messages. Drivers live in packages below; no XML, HTTP, iSCSI or VM here.
 */
@NullMarked
package io.xenferry.sr;

import org.jspecify.annotations.NullMarked;
