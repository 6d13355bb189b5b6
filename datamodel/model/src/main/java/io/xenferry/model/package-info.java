/**
 * The XenAPI data model at run time: types, values, references, classes, fields, messages and error
 * codes; the typed Java that the generator emits joins this package. Nothing here knows a wire
 * format.
 */
@NullMarked
package io.xenferry.model;

import org.jspecify.annotations.NullMarked;
