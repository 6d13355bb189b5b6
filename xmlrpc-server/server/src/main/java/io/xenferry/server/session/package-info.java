/** Who calls: local users, sessions and what they may do. Knows no call. */
@NullMarked
package io.xenferry.server.session;

import org.jspecify.annotations.NullMarked;
