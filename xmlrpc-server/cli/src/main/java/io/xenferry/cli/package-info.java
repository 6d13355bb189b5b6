/**
 * The server half of xe: the commands, what they call, and how their results look. Everything
 * reaches the server through {@link io.xenferry.spi.XenApi} and the ports of {@link
 * io.xenferry.cli.CliEnvironment}; no HTTP, no database and no hypervisor may appear here.
 */
@NullMarked
package io.xenferry.cli;

import org.jspecify.annotations.NullMarked;
