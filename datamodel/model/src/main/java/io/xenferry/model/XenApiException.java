package io.xenferry.model;

import java.nio.charset.StandardCharsets;
import java.util.List;

/**
 * A failure as XenAPI clients see it: a code of the data model and its parameters. Of a parameter
 * no more than a kibibyte is kept, since many are what a client sent, and it may have sent much.
 */
public final class XenApiException extends Exception {
  private static final long serialVersionUID = 1L;

  private static final int LONGEST = 1024;
  private static final String CUT = "…";

  private final String code;
  private final List<String> params;

  public XenApiException(String code, List<String> params) {
    super(code + brief(params));
    this.code = code;
    this.params = brief(params);
  }

  private static List<String> brief(List<String> params) {
    return params.stream().map(XenApiException::brief).toList();
  }

  private static String brief(String param) {
    if (param.length() <= LONGEST / 3) { // no character takes more than three bytes of UTF-8
      return param;
    }
    byte[] bytes = param.getBytes(StandardCharsets.UTF_8);
    if (bytes.length <= LONGEST) {
      return param;
    }
    int end = LONGEST - CUT.getBytes(StandardCharsets.UTF_8).length;
    while ((bytes[end] & 0xC0) == 0x80) { // in the middle of a character
      end--;
    }
    return new String(bytes, 0, end, StandardCharsets.UTF_8) + CUT;
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
