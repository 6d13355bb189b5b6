/**
 * The coordinator: starts, accepts, recovers and reports migrations on one host, and gives the
 * peers' messages to them. What happens in a state is not here, but in {@code flow}.
 */
@NullMarked
package io.xenferry.migration;

import org.jspecify.annotations.NullMarked;
