/**
 * What the coordinator asks of the rest of a host: guests, copy jobs, storage, metadata. Interfaces
 * and their values only; the server and the simulation implement them.
 */
@NullMarked
package io.xenferry.migration.ports;

import org.jspecify.annotations.NullMarked;
