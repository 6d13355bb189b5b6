package io.xenferry.model.query;

import io.xenferry.model.ClassDef;
import io.xenferry.model.ErrorCode;
import io.xenferry.model.Types;
import io.xenferry.model.XenApiException;
import io.xenferry.model.db.Row;
import io.xenferry.model.db.Snapshot;
import io.xenferry.model.query.Expression.And;
import io.xenferry.model.query.Expression.Constant;
import io.xenferry.model.query.Expression.Equal;
import io.xenferry.model.query.Expression.FieldOperand;
import io.xenferry.model.query.Expression.Literal;
import io.xenferry.model.query.Expression.Not;
import io.xenferry.model.query.Expression.Operand;
import io.xenferry.model.query.Expression.Or;
import io.xenferry.model.query.Expression.RefOperand;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.Optional;

/** A parsed {@code where} expression for one class. Immutable. */
public final class Query {
  private final ClassDef classDef;
  private final Expression expression;

  private Query(ClassDef classDef, Expression expression) {
    this.classDef = classDef;
    this.expression = expression;
  }

  /**
   * Parses.
   *
   * @throws XenApiException INVALID_VALUE [expression, what is wrong]
   */
  public static Query parse(ClassDef classDef, String expression) throws XenApiException {
    try {
      return new Query(classDef, new Parser(classDef, expression).parse());
    } catch (Parser.SyntaxException e) {
      throw new XenApiException(ErrorCode.INVALID_VALUE, expression, String.valueOf(e.getMessage()))
          .withCause(e);
    }
  }

  /** The objects that match, in order of their making. */
  public List<Row> run(Snapshot snapshot) {
    Optional<Optional<Row>> only = only(snapshot, expression);
    if (only.isPresent()) {
      return only.get().filter(this::matches).stream().toList();
    }
    return snapshot.rows(classDef.name()).stream().filter(this::matches).toList();
  }

  /** Whether the row, of the query's class, matches. */
  public boolean matches(Row row) {
    return matches(expression, row);
  }

  /** Where uuid or reference is pinned: the one row that may match, if it exists. */
  private Optional<Optional<Row>> only(Snapshot snapshot, Expression expression) {
    Expression e = expression;
    while (e instanceof And(Expression left, Expression right)) {
      Optional<Optional<Row>> found = only(snapshot, right);
      if (found.isPresent()) {
        return found;
      }
      e = left;
    }
    return switch (e) {
      case Equal(Operand left, Literal(String text)) -> pinned(snapshot, left, text);
      case Equal(Literal(String text), Operand right) -> pinned(snapshot, right, text);
      default -> Optional.empty();
    };
  }

  private Optional<Optional<Row>> pinned(Snapshot snapshot, Operand operand, String text) {
    return switch (operand) {
      case RefOperand() -> Optional.of(snapshot.row(classDef.name(), text));
      case FieldOperand(var field) when field.name().equals("uuid") && !text.isEmpty() ->
          Optional.of(snapshot.byUuid(classDef.name(), text));
      default -> Optional.empty();
    };
  }

  /** Chains of and/or lean to the left and may be long: they are walked, not recursed into. */
  private static boolean matches(Expression expression, Row row) {
    Deque<Expression> chain = new ArrayDeque<>();
    Expression e = expression;
    while (true) {
      if (e instanceof And a) {
        chain.push(e);
        e = a.left();
      } else if (e instanceof Or o) {
        chain.push(e);
        e = o.left();
      } else {
        break;
      }
    }
    boolean value = simple(e, row);
    while (!chain.isEmpty()) {
      value =
          switch (chain.pop()) {
            case And a -> value && matches(a.right(), row);
            case Or o -> value || matches(o.right(), row);
            default -> value;
          };
    }
    return value;
  }

  private static boolean simple(Expression e, Row row) {
    return switch (e) {
      case Constant c -> c.value();
      case Equal q -> text(q.left(), row).equals(text(q.right(), row));
      case Not n -> !matches(n.inner(), row);
      case And _, Or _ -> matches(e, row);
    };
  }

  private static String text(Operand operand, Row row) {
    return switch (operand) {
      case Literal l -> l.text();
      case FieldOperand f -> Types.databaseText(row.get(f.field()));
      case RefOperand _ -> row.ref();
    };
  }
}
