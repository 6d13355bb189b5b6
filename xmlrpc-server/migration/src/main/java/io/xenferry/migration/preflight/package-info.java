/**
 * What stands against a move before it begins: the kinds of obstacles, and how they are gathered.
 * Both the dry run and the move itself ask the same checks; no check has a place of its own here.
 */
@NullMarked
package io.xenferry.migration.preflight;

import org.jspecify.annotations.NullMarked;
