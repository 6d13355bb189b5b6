/**
 * What exists from the first start on: pool, host, control domain, network, template, storage
 * drivers.
 */
@NullMarked
package io.xenferry.server.boot;

import org.jspecify.annotations.NullMarked;
