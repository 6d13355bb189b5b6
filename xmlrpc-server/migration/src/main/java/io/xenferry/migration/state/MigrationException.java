package io.xenferry.migration.state;

import io.xenferry.model.XenApiException;
import java.util.List;

/**
 * Why a step of a migration failed: a XenAPI code with parameters, and a sentence for people.
 * Unchecked, since it mostly travels inside futures.
 */
public final class MigrationException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final String code;
  private final List<String> params;

  public MigrationException(String code, List<String> params, String sentence) {
    super(sentence);
    this.code = code;
    this.params = List.copyOf(params);
  }

  public MigrationException(String code, List<String> params, String sentence, Throwable cause) {
    super(sentence, cause);
    this.code = code;
    this.params = List.copyOf(params);
  }

  /** The same with one thing more to say, also in the parameter that holds the sentence. */
  public MigrationException saying(String more) {
    String sentence = getMessage();
    String longer = sentence + "; " + more;
    return new MigrationException(
        code,
        params.stream().map(param -> param.equals(sentence) ? longer : param).toList(),
        longer,
        this);
  }

  public String code() {
    return code;
  }

  public List<String> params() {
    return params;
  }

  public XenApiException toXenApi() {
    return new XenApiException(code, params).withCause(this);
  }
}
