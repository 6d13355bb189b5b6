package io.xenferry.migration;

import io.xenferry.migration.state.Plan;

/**
 * What the source is asked to do.
 *
 * @param metadata the VM's document for the destination, opaque here
 * @param token what the destination issued; names the migration
 */
public record MoveRequest(Plan plan, String metadata, String token) {

  /** Without the token. */
  @Override
  public String toString() {
    return "MoveRequest[" + plan.vm() + "]";
  }
}
