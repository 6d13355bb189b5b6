/** The driver {@code file}: a directory of sparse raw images with a record beside each. */
@NullMarked
package io.xenferry.sr.file;

import org.jspecify.annotations.NullMarked;
