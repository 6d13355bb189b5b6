/**
 * The xe client: options, connections, and obedience to the server's instructions. It knows no
 * command of xe, holds no logging framework, and avoids what makes a JVM start slowly. Nothing here
 * may depend on anything but the protocol package and the JDK.
 */
@NullMarked
package io.xenferry.xe.client;

import org.jspecify.annotations.NullMarked;
