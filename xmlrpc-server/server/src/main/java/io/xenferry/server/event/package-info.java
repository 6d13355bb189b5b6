/** event.from, event.next and event.inject on top of the object database. Never polls. */
@NullMarked
package io.xenferry.server.event;

import org.jspecify.annotations.NullMarked;
