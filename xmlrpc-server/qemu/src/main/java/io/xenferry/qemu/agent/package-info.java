/**
 * What is said with the QEMU guest agent over its port: the conversation, and what is taken from
 * its answers. Nothing of QEMU itself, and nothing that believes a guest.
 */
@NullMarked
package io.xenferry.qemu.agent;

import org.jspecify.annotations.NullMarked;
