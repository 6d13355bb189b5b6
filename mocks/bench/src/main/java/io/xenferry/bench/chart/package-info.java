/** Charts of what benchmarks measure. */
@NullMarked
package io.xenferry.bench.chart;

import org.jspecify.annotations.NullMarked;
