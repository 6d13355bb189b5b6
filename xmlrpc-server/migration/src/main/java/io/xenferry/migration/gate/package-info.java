/**
 * The one gate that everything passes which would run a guest or destroy a disk. It asks the ledger
 * and answers; it never acts.
 */
@NullMarked
package io.xenferry.migration.gate;

import org.jspecify.annotations.NullMarked;
