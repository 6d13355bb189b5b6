/**
 * The data model as the server looks things up in it, records, and the query language of get_all_where. Knows no session and no wire.
 */
@NullMarked
package io.xenferry.server.schema;

import org.jspecify.annotations.NullMarked;
