/**
 * The thin CLI protocol: greeting, messages, and the body of the request, as both ends need them.
 * Strict and bounded: nothing a peer sends makes this allocate more than the given limit. No
 * sockets, no commands and no options live here.
 */
@NullMarked
package io.xenferry.xe.protocol;

import org.jspecify.annotations.NullMarked;
