/** The server put together: its main program and the wiring of all parts, in one place each. */
@NullMarked
package io.xenferry.server;

import org.jspecify.annotations.NullMarked;
