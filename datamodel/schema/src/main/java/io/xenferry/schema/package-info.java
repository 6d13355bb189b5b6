/**
 * The XenAPI data model in the project's own XML: reading, checking against the XML schema, and
 * joining our extensions to the published model. Used at build time only, never by a server.
 */
@NullMarked
package io.xenferry.schema;

import org.jspecify.annotations.NullMarked;
