package io.xenferry.model.query;

import io.xenferry.model.FieldDef;

/** A condition on a row. */
sealed interface Expression {
  record Constant(boolean value) implements Expression {}

  record Equal(Operand left, Operand right) implements Expression {}

  record Not(Expression inner) implements Expression {}

  record And(Expression left, Expression right) implements Expression {}

  record Or(Expression left, Expression right) implements Expression {}

  /** What stands on a side of {@code =}. */
  sealed interface Operand {}

  record Literal(String text) implements Operand {}

  record FieldOperand(FieldDef field) implements Operand {}

  /** {@code field "_ref"}. */
  record RefOperand() implements Operand {}
}
