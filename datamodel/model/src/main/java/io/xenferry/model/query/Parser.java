package io.xenferry.model.query;

import io.xenferry.model.ClassDef;
import io.xenferry.model.query.Expression.FieldOperand;
import io.xenferry.model.query.Expression.Literal;
import io.xenferry.model.query.Expression.Operand;
import io.xenferry.model.query.Expression.RefOperand;

/**
 * Recursive descent over {@code expr := true | false | value = value | not expr | expr and expr |
 * expr or expr | ( expr )}, {@code value := field "name" | "literal"}. {@code and} and {@code or}
 * have one precedence and group to the left; {@code not} binds tighter.
 */
final class Parser {
  /** Brackets and nots inside each other: far beyond any client, far below the stack. */
  static final int MAX_DEPTH = 100;

  /** An expression in a call is bounded by the call's size; this bounds the work a row. */
  static final int MAX_LENGTH = 64 * 1024;

  private final ClassDef classDef;
  private final String text;
  private int at;

  Parser(ClassDef classDef, String text) {
    this.classDef = classDef;
    this.text = text;
  }

  /** A syntax error and what it is. */
  static final class SyntaxException extends Exception {
    private static final long serialVersionUID = 1L;

    SyntaxException(String message) {
      super(message);
    }
  }

  Expression parse() throws SyntaxException {
    if (text.length() > MAX_LENGTH) {
      throw new SyntaxException("longer than " + MAX_LENGTH + " characters");
    }
    Expression e = expression(0);
    blanks();
    if (at < text.length()) {
      throw wrong("unexpected text");
    }
    return e;
  }

  private Expression expression(int depth) throws SyntaxException {
    Expression left = unary(depth);
    // Chains nest to the left, but are evaluated in a loop, so their length needs no limit.
    while (true) {
      if (word("and")) {
        left = new Expression.And(left, unary(depth));
      } else if (word("or")) {
        left = new Expression.Or(left, unary(depth));
      } else {
        return left;
      }
    }
  }

  private Expression unary(int depth) throws SyntaxException {
    if (depth > MAX_DEPTH) {
      throw wrong("nested deeper than " + MAX_DEPTH);
    }
    if (word("not")) {
      return new Expression.Not(unary(depth + 1));
    }
    if (word("true")) {
      return new Expression.Constant(true);
    }
    if (word("false")) {
      return new Expression.Constant(false);
    }
    if (symbol('(')) {
      Expression e = expression(depth + 1);
      if (!symbol(')')) {
        throw wrong("')' expected");
      }
      return e;
    }
    Operand left = operand();
    if (!symbol('=')) {
      throw wrong("'=' expected");
    }
    return new Expression.Equal(left, operand());
  }

  private Operand operand() throws SyntaxException {
    if (word("field")) {
      String name = literal();
      if (name.equals("_ref")) {
        return new RefOperand();
      }
      return new FieldOperand(
          classDef
              .field(name)
              .filter(f -> !f.internal())
              .orElseThrow(() -> new SyntaxException(classDef + " has no field " + name)));
    }
    return new Literal(literal());
  }

  private String literal() throws SyntaxException {
    if (!symbol('"')) {
      throw wrong("'\"' expected");
    }
    int end = text.indexOf('"', at);
    if (end < 0) {
      throw wrong("unclosed '\"'");
    }
    String s = text.substring(at, end);
    at = end + 1;
    return s;
  }

  private boolean word(String word) {
    blanks();
    int end = at + word.length();
    if (!text.startsWith(word, at)
        || end < text.length() && Character.isLetterOrDigit(text.charAt(end))) {
      return false;
    }
    at = end;
    return true;
  }

  private boolean symbol(char c) {
    blanks();
    if (at < text.length() && text.charAt(at) == c) {
      at++;
      return true;
    }
    return false;
  }

  private void blanks() {
    while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) {
      at++;
    }
  }

  private SyntaxException wrong(String what) {
    return new SyntaxException(what + " at character " + at);
  }
}
