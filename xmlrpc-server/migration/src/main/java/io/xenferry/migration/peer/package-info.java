/**
 * What two servers say to each other: messages, JSON, authentication, the token, an HTTP client and
 * the transport-independent server side. Decides nothing; handlers do.
 */
@NullMarked
package io.xenferry.migration.peer;

import org.jspecify.annotations.NullMarked;
