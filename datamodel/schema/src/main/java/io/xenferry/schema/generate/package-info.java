/**
 * The generator of typed Java: from the data model's XML to the sources of package
 * io.xenferry.model that nobody writes by hand. Run by the build of the model; writes only files
 * that changed.
 */
@NullMarked
package io.xenferry.schema.generate;

import org.jspecify.annotations.NullMarked;
