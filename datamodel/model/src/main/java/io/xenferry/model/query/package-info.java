/**
 * The query language of get_all_where and get_all_records_where: text to expression, and expression
 * against rows. Knows no session and no wire.
 */
@NullMarked
package io.xenferry.model.query;

import org.jspecify.annotations.NullMarked;
