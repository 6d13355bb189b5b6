/** Tasks: durable rows, progress, cancelling. What a task does is the caller's. */
@NullMarked
package io.xenferry.server.task;

import org.jspecify.annotations.NullMarked;
