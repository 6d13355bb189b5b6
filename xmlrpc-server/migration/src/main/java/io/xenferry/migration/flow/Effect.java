package io.xenferry.migration.flow;

import java.util.concurrent.CompletableFuture;
import java.util.function.Supplier;

/** One asynchronous effect and what it is called in a status. */
record Effect(String what, Supplier<? extends CompletableFuture<?>> run) {}
