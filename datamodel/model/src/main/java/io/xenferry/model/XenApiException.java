package io.xenferry.model;

import java.util.List;

/** A failure as XenAPI clients see it: a code of the data model and its parameters. */
public final class XenApiException extends Exception {
  private static final long serialVersionUID = 1L;

  private final String code;
  private final List<String> params;

  public XenApiException(String code, List<String> params) {
    super(code + params);
    this.code = code;
    this.params = List.copyOf(params);
  }

  public XenApiException(String code, String... params) {
    this(code, List.of(params));
  }

  public XenApiException(ErrorCode code, String... params) {
    this(code.name(), List.of(params));
  }

  public XenApiException withCause(Throwable cause) {
    initCause(cause);
    return this;
  }

  public String code() {
    return code;
  }

  public List<String> params() {
    return params;
  }
}
