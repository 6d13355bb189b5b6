package io.xenferry.xe.client;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * The arguments as they were given. The JVM decodes them by the locale and replaces what it cannot
 * decode, under the locale C all that is not ASCII; the kernel still has the bytes.
 */
final class ExactArguments {
  /** What the JVM puts in place of bytes that it cannot decode. */
  private static final char REPLACEMENT = '\uFFFD';

  /** Linux has it: each word of the command line with a zero byte behind it. */
  static final Path COMMAND_LINE = Path.of("/proc/self/cmdline");

  private ExactArguments() {}

  /**
   * The arguments, decoded as UTF-8.
   *
   * @param decoded by the JVM
   * @param commandLine a file like {@link #COMMAND_LINE}; where there is none, what the JVM has
   *     decoded is taken
   * @throws ClientException an argument is not UTF-8, or was lost
   */
  static List<String> of(List<String> decoded, Path commandLine) throws ClientException {
    List<byte[]> words = words(commandLine);
    int before = words.size() - decoded.size();
    if (before < 0 || !same(decoded, words.subList(before, words.size()))) {
      for (int i = 0; i < decoded.size(); i++) {
        if (decoded.get(i).indexOf(REPLACEMENT) >= 0) {
          throw notText(i);
        }
      }
      return decoded;
    }
    List<String> exact = new ArrayList<>();
    for (int i = 0; i < decoded.size(); i++) {
      exact.add(utf8(words.get(before + i), i));
    }
    return exact;
  }

  private static List<byte[]> words(Path commandLine) {
    byte[] line;
    try {
      line = Files.readAllBytes(commandLine);
    } catch (IOException e) {
      return List.of(); // not on Linux, or /proc is not mounted
    }
    List<byte[]> words = new ArrayList<>();
    int from = 0;
    for (int i = 0; i < line.length; i++) {
      if (line[i] == 0) {
        words.add(java.util.Arrays.copyOfRange(line, from, i));
        from = i + 1;
      }
    }
    return words;
  }

  private static boolean same(List<String> decoded, List<byte[]> words) {
    for (int i = 0; i < decoded.size(); i++) {
      if (!same(decoded.get(i), words.get(i))) {
        return false;
      }
    }
    return true;
  }

  /** Whether the bytes may be this word's: the same as far as they are ASCII. */
  private static boolean same(String decoded, byte[] bytes) {
    for (int i = 0; i < bytes.length; i++) {
      if (i == decoded.length()) {
        return false;
      }
      if (bytes[i] < 0) {
        return true;
      }
      if (decoded.charAt(i) != bytes[i]) {
        return false;
      }
    }
    return bytes.length == decoded.length();
  }

  private static String utf8(byte[] bytes, int index) throws ClientException {
    try {
      return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString();
    } catch (CharacterCodingException e) {
      throw notText(index);
    }
  }

  /** The argument itself is not told: it may be a password. */
  private static ClientException notText(int index) {
    return ClientException.failed("Argument " + (index + 1) + " is not UTF-8.");
  }

  /**
   * A variable of the environment, of which there are no bytes to be had.
   *
   * @throws ClientException it is not in the encoding of the locale
   */
  static String variable(String name, String value) throws ClientException {
    if (value.indexOf(REPLACEMENT) >= 0) {
      throw ClientException.failed(
          name + " is not UTF-8, or the locale has no such characters (LC_ALL=C.UTF-8 has).");
    }
    return value;
  }
}
