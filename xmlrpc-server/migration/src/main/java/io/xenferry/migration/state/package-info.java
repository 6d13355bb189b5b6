/**
 * The words of a migration: its identity, roles, states with their one table of transitions, plan,
 * deadlines and the status that people see. Values only; nothing here acts or waits.
 */
@NullMarked
package io.xenferry.migration.state;

import org.jspecify.annotations.NullMarked;
