/**
 * Rows and records by the names of fields, and values that came in brought to their types. Knows no
 * session.
 */
@NullMarked
package io.xenferry.server.schema;

import org.jspecify.annotations.NullMarked;
