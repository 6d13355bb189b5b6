/**
 * Messages with code of their own, one small class per class of the data model, registered in one
 * list.
 */
@NullMarked
package io.xenferry.server.messages;

import org.jspecify.annotations.NullMarked;
