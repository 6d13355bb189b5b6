package io.xenferry.xe.protocol;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/** The body of {@code POST /cli}: arguments, one a line, without a line feed at the end. */
public final class RequestBody {
  /** The longest body that a server takes, in bytes. */
  public static final int LIMIT = 204_800;

  private RequestBody() {}

  /**
   * Joins the arguments.
   *
   * @throws ProtocolException an argument holds a line feed, which would make two of it, or the
   *     whole is longer than {@link #LIMIT}
   */
  public static byte[] join(List<String> arguments) throws ProtocolException {
    for (String argument : arguments) {
      if (argument.indexOf('\n') >= 0) {
        throw new ProtocolException("an argument may not hold a line feed");
      }
    }
    byte[] body = String.join("\n", arguments).getBytes(StandardCharsets.UTF_8);
    if (body.length > LIMIT) {
      throw new ProtocolException("the arguments are longer than " + LIMIT + " bytes");
    }
    return body;
  }

  /**
   * Splits a body; one carriage return at the end of an argument, as a pool member that forwards a
   * request has it, is dropped.
   *
   * @throws ProtocolException the body is too long or not UTF-8
   */
  public static List<String> split(byte[] body) throws ProtocolException {
    if (body.length > LIMIT) {
      throw new ProtocolException("the request is longer than " + LIMIT + " bytes");
    }
    String text;
    try {
      text = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(body)).toString();
    } catch (CharacterCodingException e) {
      throw new ProtocolException("the request is not UTF-8");
    }
    List<String> arguments = new ArrayList<>();
    int from = 0;
    while (from <= text.length()) {
      int to = text.indexOf('\n', from);
      if (to < 0) {
        to = text.length();
      }
      String item = text.substring(from, to);
      arguments.add(item.endsWith("\r") ? item.substring(0, item.length() - 1) : item);
      from = to + 1;
    }
    return arguments;
  }
}
