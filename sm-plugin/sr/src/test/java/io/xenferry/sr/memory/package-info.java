/** The driver {@code memory}: disks in memory with faults on demand, for tests and rehearsals. */
@NullMarked
package io.xenferry.sr.memory;

import org.jspecify.annotations.NullMarked;
