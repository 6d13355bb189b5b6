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

  /** An argument is not UTF-8. */
  public static final class NotText extends ProtocolException {
    private static final long serialVersionUID = 1L;

    private final String argument;

    NotText(String argument) {
      super("an argument is not UTF-8: " + argument);
      this.argument = argument;
    }

    /** Its name where it has one, since its value may be a secret; else what is legible of it. */
    public String argument() {
      return argument;
    }
  }

  /**
   * Splits a body; one carriage return at the end of an argument, as a pool member that forwards a
   * request has it, is dropped.
   *
   * @throws NotText an argument is not UTF-8
   * @throws ProtocolException the body is too long
   */
  public static List<String> split(byte[] body) throws ProtocolException {
    if (body.length > LIMIT) {
      throw new ProtocolException("the request is longer than " + LIMIT + " bytes");
    }
    List<String> arguments = new ArrayList<>();
    int from = 0;
    while (from <= body.length) {
      int to = from;
      while (to < body.length && body[to] != '\n') {
        to++;
      }
      String item = text(body, from, to);
      arguments.add(item.endsWith("\r") ? item.substring(0, item.length() - 1) : item);
      from = to + 1;
    }
    return arguments;
  }

  private static String text(byte[] body, int from, int to) throws NotText {
    try {
      return StandardCharsets.UTF_8
          .newDecoder()
          .decode(ByteBuffer.wrap(body, from, to - from))
          .toString();
    } catch (CharacterCodingException e) {
      throw new NotText(legible(new String(body, from, to - from, StandardCharsets.UTF_8)));
    }
  }

  private static String legible(String argument) {
    int eq = argument.indexOf('=');
    return eq < 0 ? argument : argument.substring(0, eq);
  }
}
