/** The consoles of guests: their records, and the way to them through this server. */
@NullMarked
package io.xenferry.server.console;

import org.jspecify.annotations.NullMarked;
