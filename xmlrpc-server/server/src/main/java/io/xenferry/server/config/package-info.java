/** Configuration as typed records with their defaults and reasons. Behaviour lives elsewhere. */
@NullMarked
package io.xenferry.server.config;

import org.jspecify.annotations.NullMarked;
