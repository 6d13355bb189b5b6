/**
 * The formats that guest, filler and verifier agree on: self-describing disk blocks, and the ledger
 * of acknowledged writes. No guest and no process lives here.
 */
@NullMarked
package io.xenferry.guest.ledger;

import org.jspecify.annotations.NullMarked;
