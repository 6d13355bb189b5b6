/**
 * How a migration runs: one class per state of either role, each holding what happens in that state
 * and nothing else. Everything lives on the coordinator's scheduler; effects go through ports, and
 * decisions through the ledger first.
 */
@NullMarked
package io.xenferry.migration.flow;

import org.jspecify.annotations.NullMarked;
