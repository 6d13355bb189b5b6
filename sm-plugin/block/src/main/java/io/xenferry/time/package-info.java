/**
 * The time source of everything asynchronous. One interface gives time, delay and the serial
 * executor; the product has a real one, the simulation a seeded one. No block I/O here.
 */
@NullMarked
package io.xenferry.time;

import org.jspecify.annotations.NullMarked;
