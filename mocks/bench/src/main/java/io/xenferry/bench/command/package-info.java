/**
 * Programs of the system that benchmarks run: where they are, and running them to their end with a
 * deadline. Knows no benchmark.
 */
@NullMarked
package io.xenferry.bench.command;

import org.jspecify.annotations.NullMarked;
