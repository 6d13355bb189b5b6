/**
 * Coverage-guided fuzzing: each {@link io.xenferry.fuzz.Surface} is a place where bytes of a peer
 * or a client come in. Inputs that once mattered are kept, and tried again by the tests.
 */
@NullMarked
package io.xenferry.fuzz;

import org.jspecify.annotations.NullMarked;
