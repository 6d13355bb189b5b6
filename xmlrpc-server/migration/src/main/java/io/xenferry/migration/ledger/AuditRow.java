package io.xenferry.migration.ledger;

import java.time.Instant;

/**
 * What an operator has forced.
 *
 * @param operator who
 * @param action {@code force-commit}, {@code force-resume}, {@code accept-restored-ledger}
 * @param subject the migration or VM
 * @param statement what was known and what the operator stated
 */
public record AuditRow(
    Instant at, String operator, String action, String subject, String statement) {}
