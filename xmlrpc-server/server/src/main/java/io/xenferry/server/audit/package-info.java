/**
 * The audit log: who did what, when, from where and with what outcome. Knows sessions and the data
 * model; no call and no HTTP.
 */
@NullMarked
package io.xenferry.server.audit;

import org.jspecify.annotations.NullMarked;
