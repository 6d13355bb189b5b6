/** The SR type {@code iso}: a directory of CD images, which is only read. */
@NullMarked
package io.xenferry.sr.iso;

import org.jspecify.annotations.NullMarked;
