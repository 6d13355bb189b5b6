/**
 * What benchmarks have in common: rounds in turn, medians, where files go, what a process has used.
 * Knows no benchmark.
 */
@NullMarked
package io.xenferry.bench.measure;

import org.jspecify.annotations.NullMarked;
